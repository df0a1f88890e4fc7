"""Repeats a write for ever until it works: nothing that the cloud has taken on is dropped."""

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from cloud.ingest.intake import KEPT
from cloud.metrics import CloudMetrics
from cloud.stores import StoreNeedsMending, StoreUnavailable
from cloud.transactions import RecordsUnavailable
from models.backoff import Backoff
from models.errors import ForewarnError
from models.words import say_duration

log = structlog.get_logger()

MENDING_PAUSE_S = 30.0
"""Between tries while somebody has to mend a setting: each of them is one more refused login over there."""
SPREAD_MAX = 1.25
RETRY_S_MIN = 0.1
RETRY_S_MAX = 3.0
"""There is one writer, and everything waits for it: it may ask often."""
BETWEEN_S = 2.0
"""How often a long pause is broken for what must not wait so long."""

Result = TypeVar("Result")


class Stopped(ForewarnError):
    """We were told to stop while the store was away: what is held is sent again by its owners."""


class Insistence:
    """Calls writes until they work. `between` is called again and again meanwhile.

    A loss, each new kind of loss, and the return are said once; all tries are counted.
    """

    def __init__(self, metrics: CloudMetrics, between: Callable[[], None]) -> None:
        self._metrics = metrics
        self._between = between

    def insist(self, write: Callable[[], Result], stop: threading.Event, batches: int) -> Result:
        """Return what `write` returns once it works; raise `Stopped` when told to stop first.

        `batches` is how many wait here for it, for the message.
        """
        backoff = Backoff(RETRY_S_MIN, RETRY_S_MAX)
        lost_at_s: float | None = None
        said: type[ForewarnError] | None = None
        while True:
            try:
                result = write()
            except (StoreUnavailable, RecordsUnavailable) as error:
                self._metrics.store_failures.inc()
                self._metrics.store_trouble = str(error)
                lost_at_s = time.monotonic() if lost_at_s is None else lost_at_s
                if type(error) is not said:
                    said = type(error)
                    _say_lost(error, batches)
                if self._pause(stop, choose_pause_s(error, backoff)):
                    raise Stopped("told to stop while the store is away") from error
                continue
            self._metrics.store_trouble = ""
            if lost_at_s is not None:
                log.info("store_back", after=say_duration(time.monotonic() - lost_at_s))
            return result

    def _pause(self, stop: threading.Event, seconds: float) -> bool:
        """Wait; return whether we were told to stop."""
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            if stop.wait(min(left_s, BETWEEN_S)):
                return True
            self._between()
        return stop.is_set()


def choose_pause_s(error: ForewarnError, backoff: Backoff) -> float:
    """Return how long to wait: what the database asked for and somewhat more, else longer and longer.

    Whoever failed together comes back at different instants.
    """
    spread = random.uniform(1.0, SPREAD_MAX)  # noqa: S311  # spreads the load; guards nothing
    if isinstance(error, StoreNeedsMending):
        return MENDING_PAUSE_S * spread
    if isinstance(error, StoreUnavailable) and error.retry_after_s is not None:
        return max(RETRY_S_MIN, error.retry_after_s * spread)
    return backoff.next_delay_s()


def _say_lost(error: ForewarnError, batches: int) -> None:
    kept = f"{batches} batches here, all {KEPT}"
    if isinstance(error, StoreNeedsMending):
        log.error("store_needs_mending", reason=str(error), kept=kept)
    else:
        log.warning("store_lost", reason=str(error), kept=kept)
