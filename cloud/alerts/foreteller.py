"""Keeps forecast and severity of open alerts up to date; a thread of its own, with a reader of its own."""

import threading
import time
from collections.abc import Callable

import structlog

from cloud.alerts.book import AlertBook
from cloud.alerts.foresight import Foresight
from cloud.stores import StoreUnavailable
from cloud.transactions import RecordsUnavailable

ALERTS_MAX = 200
"""So many open alerts are looked at each time; with more there are other worries than when."""

log = structlog.get_logger()


class Foreteller:
    """Looks every `every_s` seconds at the open alerts of machines."""

    def __init__(
        self,
        book: AlertBook,
        foresight: Foresight,
        every_s: float,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._book = book
        self._foresight = foresight
        self._every_s = every_s
        self._clock_ns = clock_ns
        self._is_blind = False

    def run(self, stop: threading.Event) -> None:
        """Look now and then until `stop`."""
        while not stop.wait(self._every_s):
            try:
                self.look()
                self._is_blind = False
            except (StoreUnavailable, RecordsUnavailable) as error:
                if not self._is_blind:
                    self._is_blind = True
                    log.warning("forecasts_wait", reason=str(error))

    def look(self) -> int:
        """Write down what lies ahead of each open alert; return of how many. Raises what the parts raise."""
        told = 0
        for alert in self._book.list_alerts(open_only=True, kind="machine", limit=ALERTS_MAX):
            found = self._foresight.look(alert, self._clock_ns())
            if found is not None:
                self._book.foretell(alert.id, *found)
                told += 1
        return told
