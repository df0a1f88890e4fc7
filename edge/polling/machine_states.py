"""How each machine's connection fares: kept by the pollers, told in the gateway's status."""

from collections.abc import Callable
from itertools import islice

import msgspec

from edge.vitals.vitals import MachineCounters
from models.telemetry import Frame, MachinePath, MachineStatus, quality

REASONS_MAX = 200
"""Of a machine most of whose tags are refused, the first tell why."""


class MachineStates:
    """One `MachineStatus` per machine. `version` rises with every change worth telling; `on_news` hears."""

    def __init__(self, on_news: Callable[[], None] = lambda: None) -> None:
        self._on_news = on_news
        self.version = 0
        self.counters: dict[MachinePath, MachineCounters] = {}
        """What each machine's poller counts; kept over its restarts."""
        self._states: dict[MachinePath, MachineStatus] = {}

    def list_all(self) -> list[MachineStatus]:
        """Return the states, by path."""
        return [self._states[path] for path in sorted(self._states)]

    def get(self, machine: MachinePath) -> MachineStatus:
        """Return the state of one machine."""
        return self._states[machine]

    def begin(self, machine: MachinePath, now_ns: int) -> None:
        """The machine is being connected to for the first time."""
        self._put(machine, MachineStatus(str(machine), "connecting", now_ns))
        self.counters.setdefault(machine, MachineCounters())

    def forget(self, machine: MachinePath) -> None:
        """The machine is not read any more."""
        self._states.pop(machine, None)
        self.counters.pop(machine, None)
        self._tell()

    def connect(self, machine: MachinePath, now_ns: int) -> None:
        """The machine answers."""
        old = self._states[machine]
        self._put(machine, msgspec.structs.replace(old, state="connected", since=now_ns, reason=""))

    def lose(self, machine: MachinePath, now_ns: int, reason: str) -> bool:
        """The machine does not answer, and why; return whether that is news."""
        old = self._states[machine]
        if old.state == "lost":
            if old.reason != reason:
                self._put(machine, msgspec.structs.replace(old, reason=reason))
            return False
        self._put(machine, msgspec.structs.replace(old, state="lost", since=now_ns, reason=reason))
        return True

    def miss(self, machine: MachinePath, cycles: int) -> None:
        """So many polls did not take place in time."""
        old = self._states[machine]
        self._states[machine] = msgspec.structs.replace(
            old, missed_cycles_total=old.missed_cycles_total + cycles
        )

    def observe(
        self, machine: MachinePath, frames: list[Frame], explain: Callable[[], dict[str, str]] = dict
    ) -> None:
        """Note which tags are bad now (`bad_tags`: tag -> status code), and what `explain` says of them."""
        old = self._states[machine]
        if not old.bad_tags and not any(frame.quality for frame in frames):
            return
        bad = dict(old.bad_tags)
        for frame in frames:
            last = len(frame.timestamps) - 1
            for tag in frame.values:
                code = frame.quality.get(tag, {}).get(last, quality.GOOD)
                if quality.is_bad(code):
                    bad[tag] = code
                else:
                    bad.pop(tag, None)
        if bad != old.bad_tags:
            said = ((tag, words) for tag, words in explain().items() if tag in bad)
            reasons = dict(islice(said, REASONS_MAX))
            self._put(machine, msgspec.structs.replace(old, bad_tags=bad, bad_reasons=reasons))

    def _put(self, machine: MachinePath, status: MachineStatus) -> None:
        self._states[machine] = status
        self._tell()

    def _tell(self) -> None:
        self.version += 1
        self._on_news()
