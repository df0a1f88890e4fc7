"""Reads waveforms out of consecutive registers: many requests each, a few per poll, features in the end."""

from array import array
from collections import deque
from collections.abc import Sequence
from time import monotonic, time_ns

import structlog

from edge.drivers import Driver, ExplainsTags, NotConnected
from edge.drivers.interval_groups import DueTimes
from edge.drivers.modbus.answers import Answer
from edge.drivers.modbus.decoding import read_samples
from edge.drivers.modbus.line import find_line
from edge.drivers.modbus.planning import plan_blocks
from edge.drivers.modbus.registers import Block, Limits
from edge.drivers.modbus.settings import ModbusMachineSettings, ModbusTagSettings
from edge.drivers.refusals import Meaning, choose_quality, explain_refusal, explain_unreachable, judge
from edge.vibration.desk import Desk
from models.telemetry import Frame, Gap, quality

POLL_SHARE = 0.5
"""So much of a poll's interval may go into reading waveforms; what is left is read by the next polls."""

log = structlog.get_logger()


class Recorder:
    """One waveform on its way: which blocks it takes, and what has been read of them."""

    def __init__(self, tag: ModbusTagSettings, limits: Limits) -> None:
        self.tag = tag
        wanted = tag.want_all()
        blocks = plan_blocks(wanted, limits)
        # Without the samples' own entries, of which a block has dozens.
        self._requests = [
            Block(block.table, block.address, block.count, block.wanted[:1]) for block in blocks
        ]
        self._spans = [
            (2 * (block.wanted[0].address - block.address), 2 * (block.wanted[-1].end - block.address))
            for block in blocks
        ]
        counter = tag.want_counter()
        if counter is not None:
            (asking,) = plan_blocks([counter], limits)
            self._requests = [asking, *self._requests, asking]
            self._spans = [(0, 0), *self._spans, (0, 0)]
        self._counter = counter
        self._counted: bytes | None = None
        self._answers: list[Answer] = []

    @property
    def request(self) -> Block:
        """What to ask for next."""
        return self._requests[len(self._answers)]

    @property
    def is_whole(self) -> bool:
        """Whether everything has been read."""
        return len(self._answers) == len(self._requests)

    @property
    def is_known(self) -> bool:
        """Whether the machine has counted no new recording since the last whole one."""
        return self._counter is not None and len(self._answers) == 1 and self._count(0) == self._counted

    @property
    def is_torn(self) -> bool:
        """Whether the machine has begun a new recording while this one was read."""
        return self._counter is not None and self._count(0) != self._count(-1)

    @property
    def is_doubtful(self) -> bool:
        """Whether an answer may have been an older one's."""
        return any(answer.retried for answer in self._answers)

    @property
    def observed_ns(self) -> int:
        """When its reading began."""
        return self._answers[0].observed_ns

    def begin(self) -> None:
        """Forget what was read of it."""
        self._answers = []

    def add(self, answer: Answer) -> None:
        """Keep an answer to `request`."""
        self._answers.append(answer)

    def take_samples(self) -> "array[float]":
        """Return the samples of what is whole, and remember which recording that was."""
        if self._counter is not None:
            self._counted = self._count(0)
        octets = b"".join(
            (answer.octets or b"")[first:end]
            for answer, (first, end) in zip(self._answers, self._spans, strict=True)
        )
        samples = read_samples(octets, self.tag.type, self.tag.byte_order)
        scale = self.tag.scale
        return samples if scale == 1.0 else array("d", [number * scale for number in samples])

    def _count(self, at: int) -> bytes:
        assert self._counter is not None
        first = 2 * (self._counter.address - self._requests[0].address)
        return (self._answers[at].octets or b"")[first : first + 2]


class ModbusWaveforms:
    """The driver of a machine with waveforms, around the one of its other tags, if there are any.

    Waveforms are read after those, for half of a poll's interval at most, and go on at the next poll.
    """

    def __init__(
        self, settings: ModbusMachineSettings, tags: Sequence[ModbusTagSettings], plain: Driver | None
    ) -> None:
        self._settings = settings
        self._plain = plain
        plain_s = plain.interval_s if plain is not None else None
        intervals = {tag.name: tag.interval_s or settings.interval_s for tag in tags}
        self._beat_s = min(filter(None, [plain_s, *intervals.values()]))
        self.interval_s: float | None = self._beat_s
        self.unit_id = settings.unit_id
        # The beat itself comes first and is always due; the others keep their own pace.
        self._due = DueTimes([self._beat_s, plain_s or self._beat_s, *intervals.values()])
        self._recorders = [Recorder(tag, settings.limits) for tag in tags]
        self._reading: deque[Recorder] = deque()
        self._said: set[tuple[str, str]] = set()
        self._desk = Desk(str(settings.path), tags)
        self._line = find_line(settings.line)
        self._line.join(self)
        self._is_connected = False

    async def connect(self) -> None:
        """Open the line, for the other tags first; raise `NotConnected` with the reason."""
        await self.close()
        timeout_s = self._settings.timeout_s
        try:
            if self._plain is not None:
                await self._plain.connect()
            await self._line.open(self, timeout_s)
            if self._plain is None:
                answer = await self._line.knock(self.unit_id, self._recorders[0].request, timeout_s)
                if answer is not None:
                    self._refuse_unreachable(answer.code)
            self._is_connected = True
        finally:
            if not self._is_connected:
                await self.close()
        self._desk.begin()
        self._due.begin()

    async def read(self) -> list[Frame]:
        """Return the other tags, and the features of the waveforms that are whole; raise `NotConnected`."""
        if not self._is_connected:
            raise NotConnected(f"the connection to {self._line.where} is closed")
        end_s = monotonic() + POLL_SHARE * self._beat_s
        frames: list[Frame] = []
        for place in self._due.take():
            if place == 1 and self._plain is not None:
                frames = await self._plain.read()
            elif place > 1:
                self._begin(self._recorders[place - 2])
        self._desk.note_speeds(frames)
        while self._reading:
            if await self._read_on(self._reading[0]):
                self._reading.popleft().begin()
            if monotonic() >= end_s:
                break
        await self._desk.settle(self._beat_s)
        return frames + self._desk.take()

    def explain_tags(self) -> dict[str, str]:
        """Return the machine's own word on the other tags that have no value now."""
        return self._plain.explain_tags() if isinstance(self._plain, ExplainsTags) else {}

    def take_gaps(self) -> list[Gap]:
        """Return the waveforms that were read and not computed."""
        return self._desk.take_gaps()

    async def close(self) -> None:
        """Let go of the line."""
        self._is_connected = False
        for recorder in self._reading:
            recorder.begin()
        self._reading.clear()
        if self._plain is not None:
            await self._plain.close()
        self._line.release(self)

    def _begin(self, recorder: Recorder) -> None:
        """Read it as soon as those before it are."""
        if recorder in self._reading:
            reason = "reading it takes longer than its interval_s: read it less often, or fewer samples"
            self._say("waveform_slow", recorder.tag.name, reason)
        else:
            self._reading.append(recorder)

    async def _read_on(self, recorder: Recorder) -> bool:
        """Send one request; return whether that was all of this waveform."""
        block, tag = recorder.request, recorder.tag
        answer = await self._line.ask(self.unit_id, block, self._settings.timeout_s)
        if answer.octets is None:
            self._refuse_unreachable(answer.code)
            reason = explain_refusal(block.wanted[0], self.unit_id, answer.code)
            self._desk.refuse(tag.name, time_ns(), choose_quality(answer.code), reason)
            return True
        recorder.add(answer)
        if not recorder.is_whole:
            return recorder.is_known
        if recorder.is_torn:
            reason = "the machine began a new recording while this one was read: it is read again in its turn"
            self._say("waveform_torn", tag.name, reason)
            last_ns = answer.observed_ns
            self._desk.note_lost(tag.name, recorder.observed_ns - 1, last_ns + 1, "cycles_missed", reason)
        else:
            code = quality.UNCERTAIN if recorder.is_doubtful else quality.GOOD
            self._desk.put(tag.name, recorder.observed_ns, recorder.take_samples(), code)
        return True

    def _refuse_unreachable(self, code: int) -> None:
        """Raise `NotConnected` when a gateway says that there is nobody of this unit id."""
        if judge(code) is Meaning.UNREACHABLE:
            raise NotConnected(explain_unreachable(self.unit_id, code, self._line.where))

    def _say(self, event: str, tag: str, reason: str) -> None:
        if (event, tag) not in self._said:
            self._said.add((event, tag))
            log.warning(event, machine=str(self._settings.path), tag=tag, reason=reason)
