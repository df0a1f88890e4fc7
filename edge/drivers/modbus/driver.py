"""Reads a machine over Modbus, in blocks: finds what it refuses, says so once, and tries it again later."""

from collections import deque
from itertools import islice
from time import monotonic, time_ns

import msgspec
import structlog

from edge.drivers import NotConnected
from edge.drivers.modbus.answers import Answer
from edge.drivers.modbus.decoding import BlockDecoder
from edge.drivers.modbus.line import find_line
from edge.drivers.modbus.planning import plan_blocks, split_block
from edge.drivers.modbus.registers import Block
from edge.drivers.modbus.settings import ModbusMachineSettings
from edge.drivers.probing import ProbeClock
from edge.drivers.refusals import (
    Meaning,
    choose_quality,
    explain_refusal,
    explain_unreachable,
    judge,
    name_exception,
)
from models.telemetry import Column, Frame, quality

log = structlog.get_logger()

SEARCH_REQUESTS_MAX = 64
"""How many more requests than blocks one round may spend on finding the registers that are refused."""

TAGS_SHOWN_MAX = 5


class _Round(msgspec.Struct):
    """What one round of reading has found so far."""

    frames: list[Frame] = []
    kept: list[BlockDecoder] = []
    bad: dict[str, int] = {}


class ModbusDriver:
    """Polls one unit: few large requests, each with the time in the middle of its exchange as timestamp.

    A register that the device refuses is found by halving its block, put aside with a bad quality and tried
    again later; the other tags flow in the same round. Nothing here can write to a machine.
    """

    def __init__(self, settings: ModbusMachineSettings) -> None:
        self.interval_s: float | None = settings.interval_s
        self.unit_id = settings.unit_id
        self._settings = settings
        self._limits = settings.limits
        self._wanted = [tag.want() for tag in settings.tags]
        self._decoders = self._plan()
        self._refused: dict[str, int] = {}
        self._refused_before: dict[str, int] = {}
        self._probes = ProbeClock()
        self._line = find_line(settings.line)
        self._line.join(self)
        self._is_connected = False

    async def connect(self) -> None:
        """Open the line, ask whether a unit that was silent is back; raise `NotConnected` with the reason."""
        await self.close()
        timeout_s = self._settings.timeout_s
        try:
            await self._line.open(self, timeout_s)
            answer = await self._line.knock(self.unit_id, self._decoders[0].block, timeout_s)
            if answer is not None:
                self._refuse_unreachable(answer.code)
            self._is_connected = True
        finally:
            if not self._is_connected:
                await self.close()

    async def read(self) -> list[Frame]:
        """Return one frame per block, each with the time of its own exchange; raise `NotConnected`."""
        probing = self._probes.is_due(monotonic())
        if probing:  # as if nothing had been refused
            self._refused, self._decoders = {}, self._plan()
        found = _Round()
        pending = deque(self._decoders)
        requests_left = len(pending) + SEARCH_REQUESTS_MAX
        while pending and requests_left > 0:
            for answer in await self._ask([one.block for one in islice(pending, requests_left)]):
                decoder = pending.popleft()
                requests_left -= 1
                if answer.octets is None:  # the last one then
                    self._take_refusal(decoder, answer.code, found, pending)
                else:
                    found.kept.append(decoder)
                    found.frames.append(_make_frame(decoder, answer.octets, answer))
        for decoder in pending:  # the search goes on in the next round
            found.kept.append(decoder)
            found.bad.update(_mark(decoder.block, quality.BAD_WAITING_FOR_INITIAL_DATA))
        self._decoders = found.kept
        self._settle(probing=probing)
        return self._add_bad_tags(found)

    def explain_tags(self) -> dict[str, str]:
        """Return the exception that each refused tag is put aside for, by its name."""
        return {tag: name_exception(code) for tag, code in self._refused.items()}

    async def close(self) -> None:
        """Let go of the line."""
        self._is_connected = False
        self._line.release(self)

    def _plan(self) -> list[BlockDecoder]:
        return [BlockDecoder(block) for block in plan_blocks(self._wanted, self._limits)]

    async def _ask(self, blocks: list[Block]) -> list[Answer]:
        """Ask for the first of the blocks at least; silence and a lost connection raise `NotConnected`."""
        if not self._is_connected:
            raise NotConnected(f"the connection to {self._line.where} is closed")
        return await self._line.ask_all(self.unit_id, blocks, self._settings.timeout_s)

    def _refuse_unreachable(self, code: int) -> None:
        """Raise `NotConnected` when a gateway says that there is nobody of this unit id."""
        if judge(code) is Meaning.UNREACHABLE:
            raise NotConnected(explain_unreachable(self.unit_id, code, self._line.where))

    def _take_refusal(
        self, decoder: BlockDecoder, code: int, found: _Round, pending: deque[BlockDecoder]
    ) -> None:
        """Halve the block, put its tags aside, or let it pass this time: as the refusal's code says."""
        block, meaning = decoder.block, judge(code)
        self._refuse_unreachable(code)
        if meaning is Meaning.PASSING:
            found.kept.append(decoder)
            found.bad.update(_mark(block, choose_quality(code)))
        elif meaning is Meaning.ADDRESS and len(block.wanted) > 1:
            pending.extendleft(BlockDecoder(half) for half in reversed(split_block(block, self._limits)))
        else:
            self._refused.update(_mark(block, code))

    def _add_bad_tags(self, found: _Round) -> list[Frame]:
        """Put the tags without a value beside the others: into the first frame, or into one of their own."""
        bad = found.bad | {name: choose_quality(code) for name, code in self._refused.items()}
        if not bad:
            return found.frames
        values: dict[str, Column] = dict.fromkeys(bad, (None,))
        codes = {name: {0: code} for name, code in bad.items()}
        if not found.frames:
            return [Frame([time_ns()], values, codes)]
        first = found.frames[0]
        whole = Frame(first.timestamps, {**first.values, **values}, {**first.quality, **codes})
        return [whole, *found.frames[1:]]

    def _settle(self, *, probing: bool) -> None:
        """After a round: set the time of the next try; say once what is refused, and what answers again."""
        now_s, before = monotonic(), self._refused_before
        if not self._refused and not before:
            return
        if not self._refused:
            self._probes.reset()
        elif probing:
            self._probes.back_off(now_s)
        else:
            self._probes.begin(now_s)
        refused_now = self._refused.keys() - before.keys()
        fresh = [value for value in self._wanted if value.name in refused_now]
        if fresh:
            code = self._refused[fresh[0].name]
            reason = explain_refusal(fresh[0], self.unit_id, code)
            self._log_tags("registers_refused", [value.name for value in fresh], reason=reason)
        back = [name for name in before if name not in self._refused]
        if back:
            self._log_tags("registers_answer_again", back)
        self._refused_before = dict(self._refused)

    def _log_tags(self, event: str, names: list[str], **facts: str) -> None:
        shown = names[:TAGS_SHOWN_MAX]
        more = {"and_more": len(names) - len(shown)} if len(names) > len(shown) else {}
        say = log.warning if facts else log.info
        say(event, machine=str(self._settings.path), tags=shown, **more, **facts)


def _make_frame(decoder: BlockDecoder, octets: bytes, answer: Answer) -> Frame:
    columns, bad = decoder.read_columns(octets)
    if not (bad or answer.retried):
        return Frame([answer.observed_ns], columns)
    codes = {name: {0: code} for name, code in bad.items()}
    if answer.retried:
        # A late answer to the first request may have satisfied the second: older than its timestamp says.
        codes = {name: {0: quality.UNCERTAIN} for name in columns} | codes
    return Frame([answer.observed_ns], columns, codes)


def _mark(block: Block, code: int) -> dict[str, int]:
    return {value.name: code for value in block.wanted}
