"""Finds out how a value stands in a machine's registers: which table, address, type, byte order and scale."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from edge.drivers import NotConnected
from edge.drivers.modbus.answers import Answer, UnitSilent
from edge.drivers.modbus.decoding import BlockDecoder, read_words, write_words
from edge.drivers.modbus.register_types import ByteOrder, HalfName, RegisterType, count_words
from edge.drivers.modbus.registers import ADDRESS_MAX, Block, Table, Wanted, is_bit_table
from edge.drivers.refusals import Meaning, explain_unreachable, judge
from models.errors import ForewarnError

REACH = 8
"""How many registers to either side of the likely one are looked at too."""

WIDEST_WORDS = 4

# What a device is likelier to mean stands first, with the points that an unlikely one costs.
_TYPES: dict[RegisterType, int] = {
    "float32": 0, "int16": 0, "uint16": 0, "int32": 1, "uint32": 1, "float64": 2, "int64": 3, "uint64": 3,
    "float16": 3, "bcd16": 3, "bcd32": 3, "uint8": 4, "int8": 4, "string": 3,
}  # fmt: skip
_LENGTHS = (4, 6, 8)
_ORDERS: dict[ByteOrder, int] = {"ABCD": 0, "CDAB": 1, "BADC": 2, "DCBA": 2}
_SCALES: dict[float, int] = {1.0: 0, 0.1: 1, 0.01: 1, 0.001: 2, 10.0: 3, 100.0: 3}
_FLOATS = ("float16", "float32", "float64")
_CLASSIC: tuple[tuple[int, Table], ...] = (
    *((40_001, "holding"), (30_001, "input"), (10_001, "discrete")),
    *((400_001, "holding"), (300_001, "input"), (100_001, "discrete")),
)

Words = Mapping[Table, Mapping[int, int]]


class NothingThere(ForewarnError):
    """The unit answers, and refuses every register that was asked for: look elsewhere."""

    exit_code = 1


class Candidate(msgspec.Struct, frozen=True):
    """A way of reading that comes near the expected value; the fewer points, the likelier."""

    wanted: Wanted
    value: float
    points: int
    error: float


class Visitor:
    """Who uses a line without being a machine's driver."""

    def __init__(self, unit_id: int) -> None:
        self.unit_id = unit_id


class OpenLine(Protocol):
    """What leads to the unit, a `ModbusLine`; both raise `NotConnected`."""

    where: str

    async def open(self, rider: Visitor, timeout_s: float) -> None:
        """Open the connection unless it is open."""

    async def ask(self, unit_id: int, block: Block, timeout_s: float) -> Answer:
        """Return the answer."""


def list_places(around: int, expected: float) -> dict[Table, list[int]]:
    """Return the addresses, likeliest first, that a register number in a manual may mean, table by table.

    40001 is holding register 0 in most manuals, sometimes holding register 40001 or 40000 of either table.
    """
    places: dict[Table, list[int]] = {"holding": [], "input": []}
    if expected in (0.0, 1.0):
        places |= {"coil": [], "discrete": []}
    for first, table in _CLASSIC:
        if table in places and first <= around < first + (9_999 if first < 100_000 else ADDRESS_MAX + 1):
            places[table].append(around - first)
    for known in places.values():
        known += [at for at in (around, around - 1) if 0 <= at <= ADDRESS_MAX]
    return {table: known for table, known in places.items() if known}


def find_candidates(
    words: Words, places: Mapping[Table, Sequence[int]], expected: float, tolerance: float
) -> list[Candidate]:
    """Return every reading of `words` within `tolerance` of `expected`, the likeliest first."""
    found: dict[tuple[Table, int, int, float, float], Candidate] = {}
    for table, known in words.items():
        for block in _list_runs(table, known):
            decoder = BlockDecoder(block)
            run = [known[at] for at in range(block.address, block.address + block.count)]
            values = decoder.decode(write_words(table, run)).values
            for wanted in block.wanted:
                raw = values[wanted.name]
                for candidate in _scale(wanted, raw, expected, tolerance, places[table]):
                    key = (table, wanted.address, wanted.end, candidate.value, candidate.wanted.scale)
                    # int16 and uint16, or a palindrome's orders, say the same: the first is the plainest.
                    found.setdefault(key, candidate)
    return sorted(found.values(), key=lambda one: (one.points, one.error))


def write_tag(candidate: Candidate, name: str) -> str:
    """Return the candidate as a line of YAML for the machine's tags."""
    fields = [
        ("name", name),
        *((key, f"{value:g}" if key == "scale" else value) for key, value in list_fields(candidate)),
    ]
    return f"- {{{', '.join(f'{key}: {value}' for key, value in fields)}}}"


def list_fields(candidate: Candidate) -> list[tuple[str, Any]]:
    """Return what the settings of a tag have to say to read the candidate."""
    wanted = candidate.wanted
    fields: list[tuple[str, Any]] = [("table", wanted.table), ("address", wanted.address)]
    if not is_bit_table(wanted.table):
        fields.append(("type", wanted.type))
    if wanted.characters:
        fields.append(("characters", wanted.characters))
    if wanted.byte == "high":
        fields.append(("byte", wanted.byte))
    if wanted.byte_order != "ABCD":
        fields.append(("byte_order", wanted.byte_order))
    if wanted.scale != 1.0:
        fields.append(("scale", wanted.scale))
    return fields


async def read_around(
    line: OpenLine, visitor: Visitor, places: Mapping[Table, Sequence[int]], timeout_s: float
) -> Words:
    """Return the registers near the places that the unit gives; raise `NotConnected` or `NothingThere`."""
    words: dict[Table, dict[int, int]] = {table: {} for table in places}
    silence: UnitSilent | None = None
    answered = False
    for table, addresses in places.items():
        for first, last in _merge_windows(addresses, bits=is_bit_table(table)):
            try:
                await line.open(visitor, timeout_s)  # after a silence it may be closed
                span = Block(table, first, last - first, ())
                words[table] |= await _read_what_is_there(line, visitor.unit_id, span, timeout_s)
                answered = True
            except UnitSilent as error:  # some devices do not refuse what they do not have: they say nothing
                silence = error
    if not answered and silence is not None:
        raise silence
    if not any(words.values()):
        raise NothingThere(
            f"unit {visitor.unit_id} answers, and refuses every register asked for: is --around "
            "the number in the manual, and the unit the right one?"
        )
    return words


async def _read_what_is_there(line: OpenLine, unit_id: int, block: Block, timeout_s: float) -> dict[int, int]:
    """Read a block, and halve it where it is refused until what is there is known."""
    answer = await line.ask(unit_id, block, timeout_s)
    if answer.octets is not None:
        return dict(enumerate(read_words(block.table, answer.octets, block.count), block.address))
    if judge(answer.code) is Meaning.UNREACHABLE:
        raise NotConnected(explain_unreachable(unit_id, answer.code, line.where))
    if judge(answer.code) is not Meaning.ADDRESS or block.count == 1:
        return {}
    half = block.count // 2
    halves = ((block.address, half), (block.address + half, block.count - half))
    parts = [
        await _read_what_is_there(line, unit_id, Block(block.table, first, count, ()), timeout_s)
        for first, count in halves
    ]
    return parts[0] | parts[1]


def _merge_windows(addresses: Iterable[int], *, bits: bool) -> list[tuple[int, int]]:
    """Return the spans to read: from `REACH` before each address to the end of the widest value behind it."""
    beyond = 1 if bits else REACH + WIDEST_WORDS
    spans: list[tuple[int, int]] = []
    for address in sorted(addresses):
        first, last = max(0, address - (0 if bits else REACH)), min(ADDRESS_MAX + 1, address + beyond)
        if spans and first <= spans[-1][1]:
            spans[-1] = (spans[-1][0], last)
        else:
            spans.append((first, last))
    return spans


def _list_runs(table: Table, known: Mapping[int, int]) -> list[Block]:
    """Return a block per stretch of neighbouring registers, which wants everything that may stand there."""
    runs: list[list[int]] = []
    for address in sorted(known):
        if runs and runs[-1][1] == address:
            runs[-1][1] = address + 1
        else:
            runs.append([address, address + 1])
    return [Block(table, first, end - first, tuple(_list_readings(table, first, end))) for first, end in runs]


def _list_readings(table: Table, first: int, end: int) -> list[Wanted]:
    if is_bit_table(table):
        return [Wanted(str(at), table, at, "bool") for at in range(first, end)]
    shapes: list[tuple[RegisterType, ByteOrder, HalfName, int]] = []
    for kind in _TYPES:
        if kind in ("int8", "uint8"):
            shapes += [(kind, "ABCD", "low", 0), (kind, "ABCD", "high", 0)]
        elif kind == "string":
            texts: tuple[ByteOrder, ...] = ("ABCD", "BADC")
            shapes += [(kind, order, "low", length) for length in _LENGTHS for order in texts]
        else:
            shapes += [
                (kind, order, "low", 0) for order in _ORDERS if count_words(kind) > 1 or order != "DCBA"
            ]
    return [
        Wanted(
            f"{at} {kind} {order} {half} {length}",
            table,
            at,
            kind,
            byte_order=order,
            byte=half,
            characters=length,
        )
        for kind, order, half, length in shapes
        for at in range(first, end - count_words(kind, length) + 1)
    ]


def _scale(
    wanted: Wanted, raw: float | None, expected: float, tolerance: float, places: Sequence[int]
) -> Iterable[Candidate]:
    """Yield the scales by which a raw number comes near; floats and bits are hardly ever scaled."""
    if raw is None:
        return
    scales = (1.0,) if wanted.type in (*_FLOATS, "bool", "string") else tuple(_SCALES)
    away = min(abs(wanted.address - place) for place in places)
    for scale in scales:
        value = float(f"{raw * scale:.9g}")
        if abs(value - expected) <= tolerance:
            points = _TYPES.get(wanted.type, 0) + _ORDERS[wanted.byte_order] + _SCALES[scale] + 2 * away
            yield Candidate(
                msgspec.structs.replace(wanted, scale=scale), value, points, abs(value - expected)
            )
