"""Says 30, 7 and 1 days before a certificate of the way to a broker ends, while that can be mended."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog

from models.link import BrokerSettings
from models.link.certificates import Ending, choose_soonest, list_endings

LOOK_S = 3600.0
SETTLE_S = 30.0
"""By then the broker has shown its certificate, where it is there."""

log = structlog.get_logger()


class Way(NamedTuple):
    """To a broker; `read_shown` returns the certificate that it showed last (DER), None before."""

    broker: BrokerSettings
    read_shown: Callable[[], bytes | None]


class CertificateWatch:
    """`look` is called now and then by whoever ticks; it reads the files when that is due."""

    def __init__(self, ways: Sequence[Way]) -> None:
        self._ways = [way for way in ways if way.broker.tls is not None]
        self._endings: list[Ending] = []
        self._said: set[tuple[str, str, int]] = set()
        self._due_s = [0.0, SETTLE_S]
        self._began_s: float | None = None

    @property
    def endings(self) -> list[Ending]:
        """When each certificate ends, as seen at the last look."""
        return self._endings

    def list_warnings(self) -> list[str]:
        """Return what a person should know now."""
        now_s = time.time()
        return [one.describe(now_s) for one in choose_soonest(self._endings, now_s)]

    async def look(self, loop_s: float) -> None:
        """Read the certificates when that is due; say each that has come to a new stage."""
        if not self._ways:
            return
        self._began_s = loop_s if self._began_s is None else self._began_s
        if loop_s - self._began_s < self._due_s[0]:
            return
        due_s = self._due_s.pop(0)
        if not self._due_s:
            self._due_s.append(due_s + LOOK_S)
        found: list[Ending] = []
        for broker, read_shown in self._ways:
            if broker.tls is not None:
                found += await asyncio.to_thread(list_endings, broker.tls, read_shown(), broker.address)
        self._endings = list(dict.fromkeys(found))  # one file may serve on the way to two brokers
        self._say(time.time())

    def _say(self, now_s: float) -> None:
        for one in choose_soonest(self._endings, now_s):
            stage = (one.whose, one.place, one.find_stage(now_s) or 0)
            if stage not in self._said:
                self._said.add(stage)
                log.warning("certificate_ends", within_days=stage[2], reason=one.describe(now_s))
