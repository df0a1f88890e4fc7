"""Whether the gateway's own clock can be believed, and timestamps that never go backwards."""

import ctypes
import os
import sys
import time
import uuid
from pathlib import Path

from models.telemetry import Column, Frame

CLOCK_MEND = (
    "timestamps may be wrong: start a time service on this gateway (chrony or systemd-timesyncd) "
    "and give it a time server that it can reach"
)
CLAMP_S_MAX = 300
"""A last timestamp further than this in the future was a wrong clock, and is forgotten instead of obeyed."""

GROUPS_MAX = 64
"""So many groups of tags that come together are remembered as such."""

BOOT_ID_VARIABLE = "FOREWARN_BOOT_ID"

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_STEADY: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # it counts sleep, too
_TIME_ERROR = 5
_STA_UNSYNC = 0x0040


class _Timex(ctypes.Structure):
    """The head of Linux's `struct timex` (adjtimex(2)), and room for the rest that the kernel fills."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 512),
    )


def is_clock_synchronised() -> bool | None:
    """Return whether a time service keeps the system clock right; None where nobody can say."""
    if sys.platform != "linux":
        return None
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return None
    timex = _Timex()
    state = adjtimex(ctypes.byref(timex))
    if state < 0:
        return None
    return state != _TIME_ERROR and not timex.status & _STA_UNSYNC


def read_clocks() -> tuple[int, int]:
    """Return the wall clock, and a steady one that began with the computer; both in nanoseconds."""
    return time.time_ns(), time.clock_gettime_ns(_STEADY)


def read_boot_id() -> str:
    """Return what names the run of this computer since its start: by the kernel, or the service manager.

    Where neither says it every program has a name of its own, and none takes over what another has left.
    """
    try:
        said = _BOOT_ID.read_text()
    except OSError:  # a hardened service sees nothing of /proc but its own
        said = os.environ.get(BOOT_ID_VARIABLE, "")
    return said.strip().replace("-", "") or uuid.uuid4().hex


class Timeline:
    """The timestamps of one machine's tags, kept strictly ascending per tag.

    A value with the timestamp of the one before it is the same value again (a poll of something that did not
    change) and is dropped; one that is older (the clock was set back) moves to just after it. Where the last
    one lies more than `CLAMP_S_MAX` in the future, it was the last one that was wrong: what comes has its own
    time again, before it. All three are counted.
    """

    def __init__(self) -> None:
        self._last_ns: dict[str, int] = {}
        self._newest_ns = 0
        """No tag has said anything later."""
        self._groups: dict[tuple[str, ...], tuple[tuple[str, ...], int]] = {}
        """By their first: tags that came together, and their last timestamp, not in `_last_ns` yet.

        Polls tell the same tags together each time: noting that is cheaper than a note for each. In the order
        of their timestamps.
        """
        self.repeats_total = 0
        self.clamped_total = 0
        self.set_back_total = 0

    def admit(self, frame: Frame, now_ns: int) -> list[Frame]:
        """Return what of `frame` is new, in order after everything admitted before."""
        first, last, tags = frame.timestamps[0], frame.timestamps[-1], frame.values
        # What begins after all that any tag has said needs no look at each.
        is_newest = first > self._newest_ns
        if is_newest and (len(tags) > 1 or self._groups):
            self._note_group(tuple(tags), last)
        else:
            if self._groups:
                self._spread_groups()
            known = self._last_ns
            if not is_newest:
                for tag in tags:
                    if known.get(tag, 0) >= first:
                        return self._straighten(frame, now_ns)
            for tag in tags:
                known[tag] = last
        if last > self._newest_ns:  # noqa: PLR1730  # a call of `max` for each frame costs a tenth of all this
            self._newest_ns = last
        return [frame]

    def _note_group(self, tags: tuple[str, ...], last_ns: int) -> None:
        begin = tags[:1]
        group = self._groups.get(begin)
        if group is not None and group[0] == tags:
            del self._groups[begin]  # it becomes the last of them
        elif group is not None or len(self._groups) >= GROUPS_MAX:
            self._spread_groups()
        self._groups[begin] = tags, last_ns

    def _spread_groups(self) -> None:
        for tags, last_ns in self._groups.values():
            self._last_ns.update(dict.fromkeys(tags, last_ns))
        self._groups.clear()

    def _straighten(self, frame: Frame, now_ns: int) -> list[Frame]:
        groups: dict[tuple[int, ...], dict[str, list[int]]] = {}
        set_back_before = self.set_back_total
        for tag in frame.values:
            kept = self._place_rows(tag, frame.timestamps, now_ns)
            if kept:
                groups.setdefault(tuple(kept.values()), {})[tag] = list(kept)
        if self.set_back_total > set_back_before:
            self._newest_ns = max(self._last_ns.values())
        else:
            self._newest_ns = max([self._newest_ns, *[times[-1] for times in groups]])
        return [_pick(frame, list(times), rows) for times, rows in groups.items()]

    def _place_rows(self, tag: str, timestamps: list[int], now_ns: int) -> dict[int, int]:
        """Return which rows of the tag stay, and the timestamp each gets."""
        last = self._last_ns.get(tag, 0)
        if last > now_ns + CLAMP_S_MAX * 1_000_000_000:
            self.set_back_total += timestamps[0] < last
            last = 0
        kept: dict[int, int] = {}
        for row, timestamp in enumerate(timestamps):
            if timestamp == last:
                self.repeats_total += 1
                continue
            if timestamp < last:
                self.clamped_total += 1
                timestamp = last + 1  # noqa: PLW2901  # the clamp is this very replacement
            kept[row] = last = timestamp
        self._last_ns[tag] = last
        return kept


def _pick(frame: Frame, timestamps: list[int], rows_of: dict[str, list[int]]) -> Frame:
    """Return the frame with, for each tag, only the rows named."""
    values: dict[str, Column] = {
        tag: [frame.values[tag][row] for row in rows] for tag, rows in rows_of.items()
    }
    quality, repeats = {}, {}
    for tag, rows in rows_of.items():
        codes, repeated = frame.quality.get(tag, {}), frame.repeats.get(tag, [])
        moved = {new: codes[old] for new, old in enumerate(rows) if old in codes}
        if moved:
            quality[tag] = moved
        if again := [new for new, old in enumerate(rows) if old in repeated]:
            repeats[tag] = again
    return Frame(timestamps, values, quality, repeats)
