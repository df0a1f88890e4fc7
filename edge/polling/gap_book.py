"""The gaps of all machines of a gateway, until they are committed beside the frames that end them. Pure."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from edge.outbox.stored import Coverage
from edge.polling.gaps import MachineGaps, Pace, count_frames
from models.telemetry import Frame, Gap, MachinePath
from models.telemetry.batch import TAGS_MAX
from models.telemetry.gap import GAP_DETAIL_CHARS_MAX, GAPS_MAX

MARK_S = 10.0
"""How often it is written down how far machines are acquired that have nothing to say."""
GAPS_PENDING_MAX = 1_000
KINDS_MAX = 1_000
GATEWAY_DOWN = "the gateway did not run, or not with this machine among its settings"
NOT_IN_SETTINGS = "its settings changed, or it was not among them"
MEMORY_FULL = "the disk took nothing, and memory had no more room"
JOINED = "several gaps, told as one: more came than the gateway keeps until the disk takes them"

Key = tuple[MachinePath, tuple[str, ...]]


class _Dropped(msgspec.Struct):
    """Frames of the same tags that memory had no room for, one after the other: from when to when."""

    first: int
    last: int
    values: int


class GapBook:
    """Used from the event loop only. Times come in: `now_ns` of the clock, `mono_ns` of one never set.

    What `take` gave is given back or settled before the next `take`.
    """

    def __init__(self, gaps_pending_max: int = GAPS_PENDING_MAX) -> None:
        self.gaps_total: dict[MachinePath, int] = {}
        """How many gaps of each machine were recorded since the start."""
        self._gaps_pending_max = min(gaps_pending_max, GAPS_MAX)
        self._machines: dict[MachinePath, MachineGaps] = {}
        self._pending: dict[MachinePath, list[Gap]] = {}
        self._pending_out: dict[MachinePath, list[Gap]] = {}
        self._dropped: dict[Key, _Dropped] = {}
        self._dropped_out: dict[Key, _Dropped] = {}
        self._leaving: dict[MachinePath, MachineGaps] = {}
        """Machines that ended while the clock was wrong: their gaps get their time once it is right."""
        self._ended: dict[str, int] = {}
        self._before: dict[str, int] = {}
        self._known: dict[str, int] = {}
        self._reached_out: dict[str, int] = {}
        self._settled_mono_ns = 0

    # -- what happens -----------------------------------------------------------------------------------

    def load(self, reached: Mapping[str, int]) -> None:
        """Take over how far each machine was acquired when the gateway last ran."""
        self._known, self._before = dict(reached), dict(reached)

    def expect(self, machines: Iterable[MachinePath], now_ns: int) -> Coverage:
        """Return since when machines are read that never were, to be committed before they are."""
        fresh = {str(machine): now_ns for machine in machines if str(machine) not in self._known}
        self._known |= fresh
        return Coverage([], fresh)

    def begin(self, machine: MachinePath, now_ns: int, mono_ns: int, pace: Pace) -> None:
        """The machine is read from now on; 0 for `now_ns` while the clock is wrong."""
        book = self._leaving.pop(machine, None)
        if book is not None:  # the clock was wrong all along: its gap is still open
            self._machines[machine], book.pace = book, pace
            return
        ended_ns = self._ended.pop(str(machine), 0)
        reached_ns = ended_ns or self._before.get(str(machine), 0)
        self._machines[machine] = book = MachineGaps(now_ns, mono_ns, reached_ns, pace)
        if ended_ns:
            book.lose("polling_stopped", NOT_IN_SETTINGS, mono_ns)
        elif reached_ns:
            book.lose("gateway_down", GATEWAY_DOWN, mono_ns)

    def of(self, machine: MachinePath) -> MachineGaps | None:
        """Return what is known of one machine; None for one that was never begun."""
        return self._machines.get(machine)

    def has_open(self) -> bool:
        """Return whether nothing of some machine is acquired now."""
        return any(book.is_open for book in self._machines.values())

    def take_ended(self, machine: MachinePath) -> list[Gap]:
        """Return the gaps that have just ended and that the machine's history may fill; forget them."""
        book = self._machines.get(machine)
        if book is None:
            return []
        self.add(machine, book.take())  # first as they ended, then, maybe, as they were filled
        return book.take_ended()

    def reached_ns(self, machine: MachinePath) -> int:
        """Return up to when the machine is acquired; 0 where nothing ever was."""
        book = self._machines.get(machine)
        return 0 if book is None else book.reached_ns

    def end(self, machine: MachinePath, now_ns: int, mono_ns: int) -> None:
        """The machine is not read any more; should it be again, the gap goes on from here.

        0 for `now_ns` while the clock is wrong.
        """
        book = self._machines.pop(machine, None)
        if book is None:
            return
        book.lose("polling_stopped", NOT_IN_SETTINGS, mono_ns)
        if now_ns:
            self._leave(machine, book, now_ns, mono_ns)
        else:
            self._leaving[machine] = book

    def _leave(self, machine: MachinePath, book: MachineGaps, now_ns: int, mono_ns: int) -> None:
        book.grow(now_ns, mono_ns, at_once=True)
        self.add(machine, book.take())
        self._ended[str(machine)] = book.reached_ns

    def add(self, machine: MachinePath, gaps: Sequence[Gap]) -> None:
        """Keep gaps until the next flush; of too many the oldest become one that covers too much."""
        told = [gap for gap in map(_trim, gaps) if gap is not None]
        if not told:
            return
        self.gaps_total[machine] = self.gaps_total.get(machine, 0) + len(told)
        kept = self._pending.setdefault(machine, [])
        kept += told
        self._limit(kept)

    def drop(self, machine: MachinePath, frames: Iterable[Frame]) -> None:
        """These frames, the oldest that were waiting, are lost for want of memory."""
        for frame in frames:
            key = (machine, tuple(frame.values) if len(self._dropped) < KINDS_MAX else ())
            known = self._dropped.setdefault(key, _Dropped(frame.timestamps[0], frame.timestamps[-1], 0))
            known.first = min(known.first, frame.timestamps[0])
            known.last = max(known.last, frame.timestamps[-1])
            known.values += count_frames([frame])

    def lose(self, machine: MachinePath, frames: Iterable[Frame], detail: str) -> None:
        """These frames are lost for a fault of ours."""
        for frame in frames:
            first, last = frame.timestamps[0] - 1, frame.timestamps[-1] + 1
            gap = Gap(first, last, "memory_full", list(frame.values), count_frames([frame]), detail=detail)
            self.add(machine, [gap])

    def grow(self, now_ns: int, mono_ns: int, *, at_once: bool = False) -> None:
        """Record how far the open gaps have come, those that are due or all of them. The clock is right."""
        for book in self._machines.values():
            book.grow(now_ns, mono_ns, at_once=at_once)
        for machine, book in self._leaving.items():
            self._leave(machine, book, now_ns, mono_ns)
        self._leaving.clear()

    # -- towards the disk -------------------------------------------------------------------------------

    def take(self, mono_ns: int, *, with_frames: bool) -> Coverage | None:
        """Return what is to be committed with the frames taken at this very instant; None: nothing."""
        for machine, book in self._machines.items():
            self.add(machine, book.take())
        if not (with_frames or self._pending or self._dropped) and (
            mono_ns - self._settled_mono_ns < MARK_S * 1e9
        ):
            return None
        self._pending_out, self._pending = self._pending, {}
        self._dropped_out, self._dropped = self._dropped, {}
        gaps = {machine: list(kept) for machine, kept in self._pending_out.items()}
        for machine, gap in _list_dropped(self._dropped_out):
            gaps.setdefault(machine, []).append(gap)
        reached = {str(machine): book.mark_ns for machine, book in self._machines.items()}
        reached |= self._ended
        self._reached_out = {
            machine: at for machine, at in reached.items() if at and self._known.get(machine) != at
        }
        if not (with_frames or gaps or self._reached_out):
            self._settled_mono_ns = mono_ns
            return None
        return Coverage(list(gaps.items()), self._reached_out)

    def settle(self, mono_ns: int) -> None:
        """What was taken is committed."""
        for machine, _ in _list_dropped(self._dropped_out):
            self.gaps_total[machine] = self.gaps_total.get(machine, 0) + 1
        self._known |= self._reached_out
        self._pending_out, self._dropped_out, self._reached_out = {}, {}, {}
        self._settled_mono_ns = mono_ns

    def give_back(self) -> None:
        """What was taken could not be committed."""
        since, self._pending = self._pending, self._pending_out
        self._pending_out = {}
        for machine, kept in since.items():
            self._pending.setdefault(machine, []).extend(kept)
            self._limit(self._pending[machine])
        # What was dropped meanwhile lies behind the frames that come back now: it is no part of what goes on.
        for machine, gap in _list_dropped(self._dropped):
            self.add(machine, [gap])
        self._dropped, self._dropped_out, self._reached_out = self._dropped_out, {}, {}

    def _limit(self, kept: list[Gap]) -> None:
        excess = len(kept) - self._gaps_pending_max
        if excess > 0:
            kept[: excess + 1] = [_join(kept[: excess + 1])]


def _list_dropped(dropped: Mapping[Key, _Dropped]) -> list[tuple[MachinePath, Gap]]:
    return [
        (machine, Gap(one.first - 1, one.last + 1, "memory_full", list(tags), one.values, detail=MEMORY_FULL))
        for (machine, tags), one in dropped.items()
    ]


def _trim(gap: Gap) -> Gap | None:
    """Return the gap as the wire takes it; None for one that holds no instant."""
    first = max(0, gap.first)
    if gap.last - first <= 1:
        return None
    tags = gap.tags if len(gap.tags) <= TAGS_MAX else []
    return msgspec.structs.replace(gap, first=first, tags=tags, detail=gap.detail[:GAP_DETAIL_CHARS_MAX])


def _join(gaps: Sequence[Gap]) -> Gap:
    first, last = min(gap.first for gap in gaps), max(gap.last for gap in gaps)
    known = [gap.values for gap in gaps if gap.values is not None]
    return Gap(first, last, gaps[-1].reason, values=sum(known) if known else None, detail=JOINED)
