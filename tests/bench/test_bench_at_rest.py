"""One poll a second, from a machine's answers to encoded frames: in columns, against value by value."""

import json
import random
import statistics
import struct
import time
from collections.abc import Callable

import pytest

from edge.drivers.modbus.decoding import BlockDecoder
from edge.drivers.modbus.planning import plan_blocks
from edge.drivers.modbus.registers import Limits, Wanted
from edge.outbox.encoding import make_ready
from edge.polling.clock import Timeline
from edge.polling.packing import merge_frames
from models.telemetry import Frame

REGISTERS = 1_000
POLLS = 60
NOW_NS = 1_795_337_912_000_000_000
SECOND_NS = 1_000_000_000

Answers = list[bytes]


def make_answers(decoders: list[BlockDecoder]) -> Answers:
    """Return what the machine answers to each block: other numbers each time."""
    counts = [decoder.block.count for decoder in decoders]
    return [struct.pack(f">{count}H", *random.choices(range(65_536), k=count)) for count in counts]


def take_columns(decoders: list[BlockDecoder], timeline: Timeline, answers: Answers, now_ns: int) -> int:
    """Our way; return how many values it counted."""
    frames = []
    for number, (decoder, octets) in enumerate(zip(decoders, answers, strict=True)):
        frame = Frame([now_ns + number], decoder.read_columns(octets)[0])
        frames += timeline.admit(frame, now_ns)
    return make_ready(merge_frames(frames)).values


def take_values(decoders: list[BlockDecoder], last_ns: dict[str, int], answers: Answers, now_ns: int) -> int:
    """The obvious way: each value unpacked, compared with the one before it and written by itself."""
    rows = []
    for number, (decoder, octets) in enumerate(zip(decoders, answers, strict=True)):
        for value in decoder.block.wanted:
            (raw,) = struct.unpack_from(">H", octets, 2 * (value.address - decoder.block.address))
            if now_ns + number > last_ns.get(value.name, 0):
                last_ns[value.name] = now_ns + number
                rows.append({"tag": value.name, "timestamp": now_ns + number, "value": float(raw)})
    assert json.dumps(rows)
    return len(rows)


def measure_us(take: Callable[[Answers, int], int], answers: Answers, now_ns: int) -> float:
    """Return the CPU time of one poll."""
    begun = time.thread_time_ns()
    assert take(answers, now_ns) == REGISTERS
    return (time.thread_time_ns() - begun) / 1_000


@pytest.mark.bench
def test_a_poll_in_columns_against_value_by_value() -> None:
    """Prints CPU per value each way, polls in turn, the processor's caches as they are."""
    wanted = [Wanted(f"register_{at}", "holding", at, "uint16") for at in range(REGISTERS)]
    decoders = [BlockDecoder(block) for block in plan_blocks(wanted, Limits())]
    timeline, last_ns = Timeline(), dict[str, int]()
    columns, values = [], []
    for poll in range(POLLS):
        answers, now_ns = make_answers(decoders), NOW_NS + poll * SECOND_NS
        columns.append(
            measure_us(lambda *told: take_columns(decoders, timeline, *told), answers, now_ns) / REGISTERS
        )
        values.append(
            measure_us(lambda *told: take_values(decoders, last_ns, *told), answers, now_ns) / REGISTERS
        )
    ours, theirs = statistics.median(columns), statistics.median(values)
    print(
        f"\nat rest, {REGISTERS} registers a poll, from answers to encoded frames, "
        f"CPU per value (median of {POLLS}): value by value {theirs:.2f} us, "
        f"in columns {ours:.2f} us: {theirs / ours:.0f} times less"
    )
