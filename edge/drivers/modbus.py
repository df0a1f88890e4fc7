"""Reads a machine over Modbus TCP, in blocks; the only file of production that knows pymodbus."""

import asyncio
from collections import deque
from time import monotonic, time_ns

import msgspec
import structlog
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from edge.drivers import NotConnected
from edge.drivers.library_logs import silence
from edge.drivers.modbus_settings import ModbusMachineSettings
from edge.drivers.probing import ProbeClock
from edge.drivers.refusals import (
    SHORT_ANSWER,
    Meaning,
    choose_quality,
    explain_refusal,
    judge,
    name_exception,
)
from edge.drivers.registers import (
    Block,
    BlockDecoder,
    Limits,
    is_bit_table,
    plan_blocks,
    split_block,
)
from models.telemetry import Frame, Value, quality

log = structlog.get_logger()

RETRIES = 1
SEARCH_REQUESTS_MAX = 64
"""How many more requests than blocks one round may spend on finding the registers that are refused."""

TAGS_SHOWN_MAX = 5


class _Answer(msgspec.Struct, frozen=True):
    """What came back for one block: its words, or the code of a refusal."""

    words: list[int] | None
    code: int
    retried: bool
    observed_ns: int


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
        self._settings = settings
        self._limits = Limits(settings.gap_max, settings.registers_max, settings.bits_max)
        self._wanted = [tag.want() for tag in settings.tags]
        self._decoders = self._plan()
        self._refused: dict[str, int] = {}
        self._refused_before: dict[str, int] = {}
        self._probes = ProbeClock()
        self._client: AsyncModbusTcpClient | None = None
        self._where = f"{settings.host}:{settings.port}"

    async def connect(self) -> None:
        """Open the connection; raise `NotConnected` with the reason."""
        settings = self._settings
        await self.close()
        client = AsyncModbusTcpClient(
            settings.host,
            port=settings.port,
            timeout=settings.timeout_s,
            retries=RETRIES,
            reconnect_delay=0,  # the poller reconnects
        )
        silence("pymodbus")
        if not await client.connect():
            client.close()
            raise NotConnected(await self._explain_connect_failure())
        self._client = client

    async def read(self) -> list[Frame]:
        """Return one frame per block, each with the time of its own exchange; raise `NotConnected`."""
        probing = self._probes.is_due(monotonic())
        if probing:  # as if nothing had been refused
            self._refused, self._decoders = {}, self._plan()
        found = _Round()
        pending = deque(self._decoders)
        requests_left = len(pending) + SEARCH_REQUESTS_MAX
        while pending and requests_left > 0:
            decoder = pending.popleft()
            requests_left -= 1
            answer = await self._ask(decoder.block)
            if answer.words is None:
                self._take_refusal(decoder, answer.code, found, pending)
            else:
                found.kept.append(decoder)
                found.frames.append(_make_frame(decoder, answer.words, answer))
        for decoder in pending:  # the search goes on in the next round
            found.kept.append(decoder)
            found.bad.update(_mark(decoder.block, quality.BAD_WAITING_FOR_INITIAL_DATA))
        self._decoders = found.kept
        self._settle(probing=probing)
        return self._add_bad_tags(found)

    async def close(self) -> None:
        """Close the connection, if there is one."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _plan(self) -> list[BlockDecoder]:
        return [BlockDecoder(block) for block in plan_blocks(self._wanted, self._limits)]

    async def _ask(self, block: Block) -> _Answer:
        """Send one request. Refusals are answers; silence and a lost connection raise `NotConnected`."""
        client = self._client
        if client is None or not client.connected:
            raise NotConnected(f"the connection to {self._where} is closed")
        read = {
            "holding": client.read_holding_registers,
            "input": client.read_input_registers,
            "coil": client.read_coils,
            "discrete": client.read_discrete_inputs,
        }[block.table]
        sent_ns = time_ns()
        try:
            reply = await read(block.address, count=block.count, device_id=self._settings.unit_id)
        except (ModbusException, OSError) as error:
            raise NotConnected(self._explain_silence(client)) from error
        observed_ns = (sent_ns + time_ns()) // 2
        retried = reply.retries > 0
        if reply.isError():
            return _Answer(None, reply.exception_code, retried, observed_ns)
        bits = is_bit_table(block.table)
        # pymodbus takes short answers for good ones; bits come in whole bytes.
        words = [int(bit) for bit in reply.bits[: block.count]] if bits else list(reply.registers)
        if len(words) != block.count:
            return _Answer(None, SHORT_ANSWER, retried, observed_ns)
        return _Answer(words, 0, retried, observed_ns)

    def _take_refusal(
        self, decoder: BlockDecoder, code: int, found: _Round, pending: deque[BlockDecoder]
    ) -> None:
        """Halve the block, put its tags aside, or let it pass this time: as the refusal's code says."""
        block, meaning = decoder.block, judge(code)
        if meaning is Meaning.UNREACHABLE:
            raise NotConnected(
                f"the gateway at {self._where} answers {name_exception(code)} for unit "
                f"{self._settings.unit_id}: is the unit id right, and the device behind the gateway on?"
            )
        if meaning is Meaning.PASSING:
            found.kept.append(decoder)
            found.bad.update(_mark(block, choose_quality(code)))
        elif meaning is Meaning.ADDRESS and len(block.wanted) > 1:
            pending.extendleft(BlockDecoder(half) for half in reversed(split_block(block)))
        else:
            self._refused.update(_mark(block, code))

    def _add_bad_tags(self, found: _Round) -> list[Frame]:
        """Put the tags without a value beside the others: into the first frame, or into one of their own."""
        bad = found.bad | {name: choose_quality(code) for name, code in self._refused.items()}
        if not bad:
            return found.frames
        values: dict[str, list[Value]] = {name: [None] for name in bad}
        codes = {name: {0: code} for name, code in bad.items()}
        if not found.frames:
            return [Frame([time_ns()], values, codes)]
        first = found.frames[0]
        whole = Frame(first.timestamps, {**first.values, **values}, {**first.quality, **codes})
        return [whole, *found.frames[1:]]

    def _settle(self, *, probing: bool) -> None:
        """After a round: set the time of the next try; say once what is refused, and what answers again."""
        now_s, before = monotonic(), self._refused_before
        if not self._refused:
            self._probes.reset()
        elif probing:
            self._probes.back_off(now_s)
        else:
            self._probes.begin(now_s)
        fresh = [value for value in self._wanted if value.name in self._refused.keys() - before.keys()]
        if fresh:
            code = self._refused[fresh[0].name]
            reason = explain_refusal(fresh[0], self._settings.unit_id, code)
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

    def _explain_silence(self, client: AsyncModbusTcpClient) -> str:
        if not client.connected:
            return f"{self._where} closed the connection"
        waited_s = self._settings.timeout_s * (RETRIES + 1)
        return (
            f"unit {self._settings.unit_id} at {self._where} has not answered for {waited_s:g} s: "
            "is the unit id right, and is the device on?"
        )

    async def _explain_connect_failure(self) -> str:
        """Knock once more without pymodbus, which keeps the reason to its own log."""
        host, port = self._settings.host, self._settings.port
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                _, writer = await asyncio.open_connection(host, port)
            writer.close()
        except TimeoutError:
            reason = "does not answer: check the address, the cable and the firewall"
        except ConnectionRefusedError:
            reason = "refuses the connection: is Modbus TCP switched on, and the port right (mostly 502)?"
        except OSError as error:
            reason = f"cannot be reached ({error.strerror or error}): check the address"
        else:
            reason = "took a while to accept the connection: trying again"
        return f"{self._where} {reason}"


def _make_frame(decoder: BlockDecoder, words: list[int], answer: _Answer) -> Frame:
    reading = decoder.decode(words)
    codes = {name: {0: code} for name, code in reading.quality.items()}
    if answer.retried:
        # A late answer to the first request may have satisfied the second: older than its timestamp says.
        codes = {name: {0: quality.UNCERTAIN} for name in reading.values} | codes
    return Frame([answer.observed_ns], {name: [value] for name, value in reading.values.items()}, codes)


def _mark(block: Block, code: int) -> dict[str, int]:
    return {value.name: code for value in block.wanted}
