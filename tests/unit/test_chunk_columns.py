"""The codec of column chunks: exact for every float, small for what machines say, sure to see damage."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.stores.columns import (
    NO_CODES,
    ChunkDamaged,
    Group,
    decode_chunk,
    encode_frames,
    encode_groups,
    group_frames,
)
from cloud.stores.merging import merge_groups, spread_codes
from cloud.stores.numbers import find_decimals, pack_columns, pack_times, unpack_column, unpack_times
from models.telemetry import Frame, quality

START = 1_795_337_912_000_000_000
TAGS = {"a": 0, "b": 1, "c": 2}

times = st.lists(st.integers(1, 2**63 - 1), min_size=1, max_size=40, unique=True).map(sorted)
floats = st.one_of(
    st.floats(allow_nan=False),
    st.decimals(-100_000, 100_000, places=3).map(float),
    st.floats(width=32, allow_nan=False),
    st.integers(-(2**40), 2**40).map(float),
)

Spelled = tuple[list[int], dict[int, list[bytes | None]], dict[int, list[int]]]
"""Timestamps, the bits of numbers by tag (None: no number), codes by tag."""


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    """Any frame that the wire lets through: gaps and codes; and infinities."""
    instants = draw(times)
    rows = len(instants)
    names = draw(st.lists(st.sampled_from("abc"), min_size=1, unique=True))
    column = st.lists(st.one_of(st.none(), floats), min_size=rows, max_size=rows)
    code = st.dictionaries(st.integers(0, rows - 1), st.integers(1, 2**32 - 1), max_size=3)
    values = {name: draw(column) for name in names}
    return Frame(instants, values, {name: codes for name in names if (codes := draw(code))})


def bits(numbers: list[float | None]) -> list[bytes | None]:
    """Return numbers so that -0.0 differs from 0.0."""
    return [None if number is None else struct.pack("<d", number) for number in numbers]


def spell_out(groups: list[Group]) -> list[Spelled]:
    """Return groups as lists."""
    spelled = []
    for group in groups:
        numbers = {
            tag: bits([None if math.isnan(number) else number for number in column.tolist()])
            for tag, column in zip(group.tags, group.columns, strict=True)
        }
        codes = {group.tags[position]: said.tolist() for position, said in spread_codes(group).items()}
        spelled.append((group.timestamps.tolist(), numbers, codes))
    return spelled


def expect(frame: Frame) -> Spelled:
    """Return what a decoded frame should spell out."""
    codes = {}
    for tag, column in frame.values.items():
        said = [
            frame.quality.get(tag, {}).get(row, quality.BAD if number is None else 0)
            for row, number in enumerate(column)
        ]
        if any(said):
            codes[TAGS[tag]] = said
    return frame.timestamps, {TAGS[tag]: bits(column) for tag, column in frame.values.items()}, codes


@given(st.lists(frames(), min_size=1, max_size=3))
def test_both_layouts_return_every_bit(written: list[Frame]) -> None:
    """Plain or compressed, a chunk decodes to the same timestamps, numbers, gaps and codes."""
    expected = [expect(frame) for frame in written]
    assert spell_out(decode_chunk(encode_frames(written, TAGS))) == expected
    assert spell_out(decode_chunk(encode_groups(group_frames(written, TAGS)))) == expected


@given(frames(), st.sets(st.sampled_from([0, 1, 2, 3])))
def test_only_the_wanted_tags_are_decoded(frame: Frame, wanted: set[int]) -> None:
    """The others are passed over; a group without a wanted tag is not there."""
    instants, numbers, codes = expect(frame)
    kept = {tag: column for tag, column in numbers.items() if tag in wanted}
    expected = [(instants, kept, {tag: said for tag, said in codes.items() if tag in wanted})] if kept else []
    for blob in (encode_frames([frame], TAGS), encode_groups(group_frames([frame], TAGS))):
        assert spell_out(decode_chunk(blob, frozenset(wanted))) == expected


@given(times)
def test_timestamps_return_exactly(instants: list[int]) -> None:
    """Regular, jittered or wild."""
    packed = pack_times(np.array(instants))
    unpacked, end = unpack_times(packed, 0, len(instants))
    assert (unpacked.tolist(), end) == (instants, len(packed))


@given(
    st.integers(1, 60).flatmap(
        lambda rows: st.lists(st.lists(floats, min_size=rows, max_size=rows), min_size=1)
    )
)
def test_columns_return_exactly(columns: list[list[float]]) -> None:
    """Bit for bit, whichever way each was packed and whatever stands beside it."""
    for column, packed in zip(columns, pack_columns(np.array(columns)), strict=True):
        assert bits(unpack_column(packed, 0, len(column)).tolist()) == bits(list(column))


@pytest.mark.parametrize(
    ("column", "decimals"),
    [
        ([1.0, 2.0, -3.0], 0),
        ([12.4, 12.5], 1),
        ([0.001, 99.999], 3),
        ([math.pi, 1.0], -1),
        ([math.inf, 1.0], -1),
        ([-0.0, 1.0], -1),
        ([2.0**60, 1.0], -1),
        ([0.1 + 0.2], -1),
    ],
)
def test_the_fewest_decimals_are_found(column: list[float], decimals: int) -> None:
    """Only where every number is spelled exactly."""
    beside = [float(row) for row in range(len(column))]
    exponents, whole = find_decimals(np.array([column, beside]))
    assert exponents.tolist() == [decimals, 0]
    assert whole[1].tolist() == beside
    if decimals >= 0:
        assert (whole[0] / 10.0**decimals).tolist() == column


def test_regular_readings_of_a_constant_take_almost_nothing() -> None:
    """An hour at 1 Hz of ten constant tags fits into two hundred bytes."""
    instants = START + np.arange(3600) * 1_000_000_000
    group = Group(instants, tuple(range(10)), np.full((10, 3600), 20.5), NO_CODES)
    assert len(encode_groups([group])) < 200


def test_an_hour_of_a_noisy_machine_takes_two_bytes_a_value() -> None:
    """Ten tags with three decimals that wander by some hundredths."""
    generator = np.random.default_rng(5)
    instants = START + np.arange(3600) * 1_000_000_000
    walk = np.round(50 + np.cumsum(generator.normal(0, 0.05, (10, 3600)), axis=1), 3)
    blob = encode_groups([Group(instants, tuple(range(10)), walk, NO_CODES)])
    assert len(blob) / walk.size < 2.0


@given(frames(), st.data())
def test_a_flipped_bit_or_a_lost_end_is_damage(frame: Frame, drawn: st.DataObject) -> None:
    """Never a wrong value, never another error."""
    for blob in (encode_frames([frame], TAGS), encode_groups(group_frames([frame], TAGS))):
        at = drawn.draw(st.integers(0, len(blob) - 1))
        flipped = blob[:at] + bytes([blob[at] ^ (1 << drawn.draw(st.integers(0, 7)))]) + blob[at + 1 :]
        for damaged in (flipped, blob[:at]):
            with pytest.raises(ChunkDamaged):
                decode_chunk(damaged)


@given(st.lists(frames(), min_size=1, max_size=4))
def test_merging_is_what_writing_one_by_one_would_be(written: list[Frame]) -> None:
    """Against a dictionary: later wins, except that no number never wins over a number."""
    expected: dict[tuple[int, int], tuple[float | None, int]] = {}
    for frame in written:
        for tag, column in frame.values.items():
            for row, (instant, number) in enumerate(zip(frame.timestamps, column, strict=True)):
                code = frame.quality.get(tag, {}).get(row, quality.BAD if number is None else 0)
                old = expected.get((TAGS[tag], instant), (None, 0))
                if number is not None or old[0] is None:
                    expected[TAGS[tag], instant] = (number, code)
    found: dict[tuple[int, int], tuple[float | None, int]] = {}
    for group in merge_groups(group_frames(written, TAGS)):
        codes = spread_codes(group)
        assert (np.diff(group.timestamps) > 0).all()
        for position, tag in enumerate(group.tags):
            for row, instant in enumerate(group.timestamps.tolist()):
                number = float(group.columns[position][row])
                code = int(codes[position][row]) if position in codes else 0
                assert (tag, instant) not in found
                found[tag, instant] = (None if math.isnan(number) else number, code)
    assert found == expected


def test_what_is_no_number_is_refused() -> None:
    """A text or an endless integer in a column can never be stored."""
    for wrong in ("1.0", 10**400):
        with pytest.raises(ValueError, match="not numbers that can be stored"):
            encode_frames([Frame([START], {"a": [wrong]})], TAGS)  # type: ignore[list-item]  # on purpose
