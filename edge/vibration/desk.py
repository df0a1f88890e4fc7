"""Where a driver leaves its machine's waveforms, and gets their features back as frames."""

import asyncio
from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Protocol

import msgspec
import structlog

from edge.vibration.analyst import Analyst, Job, find_analyst
from edge.vibration.features import Features, Speed, refuse_all
from edge.vibration.settings import WaveformSettings
from models.telemetry import Frame, Gap, GapReason, quality

SETTLE_SHARE = 0.25
SETTLE_S_MAX = 1.0
"""So long, in parts of an interval and in seconds, a poll may wait for the features of what it read."""

WAVEFORMS_WAITING_MAX = 4
"""Of one tag. A computer that is slower than its waveforms come skips the newest."""

log = structlog.get_logger()


class WaveformTag(Protocol):
    """A tag that may be a waveform."""

    @property
    def name(self) -> str:
        """Its name on its machine."""

    @property
    def waveform(self) -> WaveformSettings | None:
        """How it is one."""


class _Waiting(msgspec.Struct):
    """A waveform whose features are being computed, or are there."""

    tag: str
    observed_ns: int
    code: int
    features: "Features | Future[Features]"

    @property
    def is_done(self) -> bool:
        """Whether they are there."""
        return isinstance(self.features, Features) or self.features.done()


class Desk:
    """The waveforms of one machine. Used from the event loop only."""

    def __init__(self, machine: str, tags: Iterable[WaveformTag], analyst: Analyst | None = None) -> None:
        self.settings = {tag.name: tag.waveform for tag in tags if tag.waveform is not None}
        self._log = log.bind(machine=machine)
        self._analyst = analyst or find_analyst()
        self._speeds: dict[str, Speed] = {}
        self._speed_tags = {
            one.speed.tag for one in self.settings.values() if one.speed is not None and one.speed.tag
        }
        self._waiting: deque[_Waiting] = deque()
        self._computed = asyncio.Event()
        self._last: dict[str, tuple[int, int]] = {}
        self._gaps: dict[GapReason, Gap] = {}
        self._skipped: dict[str, int] = {}
        self._said: set[tuple[str, str]] = set()

    def begin(self) -> None:
        """The machine is connected anew: how fast it turns is not known until it says so."""
        self._speeds = {}

    def note_speeds(self, frames: Sequence[Frame]) -> None:
        """Remember how fast shafts turn, where the frames tell; before the waveforms of the same moment."""
        for tag in self._speed_tags:
            for frame in frames:
                if tag in frame.values:
                    row = len(frame.timestamps) - 1
                    value, code = frame.values[tag][row], frame.quality.get(tag, {}).get(row, quality.GOOD)
                    is_unmarked = value is None and not quality.is_bad(code)
                    self._speeds[tag] = Speed(value, quality.BAD if is_unmarked else code)

    def put(self, tag: str, observed_ns: int, samples: "array[float]", code: int = quality.GOOD) -> None:
        """Have the features of a waveform computed; one of the last one's time says nothing new.

        `samples` are as many as its settings say. `code` is its quality, good or uncertain.
        """
        settings = self.settings[tag]
        if observed_ns == self._last.get(tag, (0, 0))[0]:
            return
        waiting = self.count_waiting(tag)
        job = Job(settings, samples, self._find_speed(settings))
        features = None
        if waiting < WAVEFORMS_WAITING_MAX:
            features = self._analyst.take(job, self._computed.set)
        if features is None:
            self._skip(tag, observed_ns)
            return
        self._last[tag] = (observed_ns, code)
        self._waiting.append(_Waiting(tag, observed_ns, code, features))
        if tag in self._skipped and not waiting:
            self._log.info("waveforms_computed_again", tag=tag, skipped=self._skipped.pop(tag))

    def refuse(self, tag: str, observed_ns: int, code: int, reason: str = "") -> None:
        """There was no waveform, for this reason; all its features are bad until there is one."""
        last_ns, last_code = self._last.get(tag, (0, quality.GOOD))
        if code == last_code:
            return
        self._last[tag] = (max(observed_ns, last_ns + 1), code)
        if reason:
            self._say("waveform_refused", tag, quality.describe(code), reason)
        features = refuse_all(self.settings[tag], code)
        self._waiting.append(_Waiting(tag, self._last[tag][0], code, features))

    async def settle(self, interval_s: float) -> None:
        """Wait until everything is computed, but not for longer than a poll every `interval_s` can spare."""
        with suppress(TimeoutError):
            async with asyncio.timeout(min(SETTLE_S_MAX, SETTLE_SHARE * interval_s)):
                while not all(one.is_done for one in self._waiting):
                    self._computed.clear()
                    await self._computed.wait()

    def take(self) -> list[Frame]:
        """Return the features that are computed, in the order in which their waveforms came."""
        frames = []
        while self._waiting and self._waiting[0].is_done:
            one = self._waiting.popleft()
            features = one.features if isinstance(one.features, Features) else one.features.result()
            for name, reason in features.reasons.items():
                self._say("feature_refused", f"{one.tag}.{name}", name, reason)
            frames.append(_make_frame(one, features))
        return frames

    def take_gaps(self) -> list[Gap]:
        """Return what was lost since the last call: a gap for each reason, so that they are bounded."""
        gaps, self._gaps = list(self._gaps.values()), {}
        return gaps

    def note_lost(self, tag: str, first_ns: int, last_ns: int, reason: GapReason, detail: str) -> None:
        """Between two instants, both exclusive, at least one waveform did not come to features."""
        names = [f"{tag}.{feature}" for feature in self.settings[tag].units]
        before = self._gaps.get(reason)
        self._gaps[reason] = Gap(
            first=first_ns if before is None else min(before.first, first_ns),
            last=last_ns if before is None else max(before.last, last_ns),
            reason=reason,
            tags=sorted({*names, *(before.tags if before is not None else ())}),
            values=len(names) + ((before.values or 0) if before is not None else 0),
            detail=detail,
        )

    def count_waiting(self, tag: str) -> int:
        """Return how many waveforms of a tag wait, or have features that nobody has taken."""
        return sum(one.tag == tag for one in self._waiting)

    def find_last_ns(self, tag: str) -> int:
        """Return the timestamp of the tag's last waveform; 0 before there was one."""
        return self._last.get(tag, (0, 0))[0]

    def _find_speed(self, settings: WaveformSettings) -> Speed:
        speed = settings.speed
        if speed is None or speed.tag is None:
            return Speed(None if speed is None else speed.rpm)
        told = self._speeds.get(speed.tag)
        if told is None:
            return Speed(None, quality.BAD_WAITING_FOR_INITIAL_DATA)
        return Speed(None if told.rpm is None else abs(told.rpm) * speed.scale, told.code)

    def _skip(self, tag: str, observed_ns: int) -> None:
        reason = (
            "waveforms come faster than this computer computes their features: read them less often "
            "(interval_s), take fewer samples, or install numpy"
        )
        if tag not in self._skipped:
            self._log.warning("waveforms_skipped", tag=tag, reason=reason)
        self._skipped[tag] = self._skipped.get(tag, 0) + 1
        self.note_lost(tag, observed_ns - 1, observed_ns + 1, "memory_full", reason)

    def _say(self, event: str, tag: str, about: str, reason: str) -> None:
        """Warn of it, once for each thing that it is about."""
        if (tag, about) not in self._said:
            self._said.add((tag, about))
            self._log.warning(event, tag=tag, reason=reason)


def _make_frame(one: _Waiting, features: Features) -> Frame:
    codes = {name: code for name, code in features.codes.items() if code}
    if one.code:  # an uncertain waveform has uncertain features
        codes = {name: one.code for name, value in features.values.items() if value is not None} | codes
    return Frame(
        [one.observed_ns],
        {f"{one.tag}.{name}": [value] for name, value in features.values.items()},
        {f"{one.tag}.{name}": {0: code} for name, code in codes.items()},
    )
