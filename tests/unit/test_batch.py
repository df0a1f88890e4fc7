"""The batch codec: what it promises for good payloads, and one named error for everything else."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.telemetry import (
    Batch,
    BatchRejected,
    Frame,
    Gap,
    count_values,
    decode_batch,
    encode_batch,
    encode_framed,
    encode_frames,
)

GOLDEN = Path(__file__).parent.parent / "golden"
GOLDEN_BATCHES = {
    "batch_design": Batch(
        "pi-01",
        "9f2c0011aabbccdd9f2c0011aabbccdd",
        8812,
        [
            Frame(
                [1795337912000000000, 1795337912500000000],
                {"motor_current": [12.4, 12.5], "bearing_temp": [61.5, None]},
                {"bearing_temp": {1: 2150891520}},
            )
        ],
    ),
    "batch_two_groups": Batch(
        "ipc-hall-1",
        "00ff",
        1,
        [
            Frame([1795337912000000001], {"Volume Flow RateRMS": [32.0]}),
            Frame([1795337912000000002], {"<script>alert(1)</script>": [-0.5], 'a "quoted\\" tag': [1e-9]}),
        ],
    ),
    "batch_gaps": Batch(
        "pi-01",
        "9f2c0011aabbccdd9f2c0011aabbccdd",
        8813,
        [Frame([1795337912000000000, 1795337972000000000], {"flow": [3.5, 3.5]}, {}, {"flow": [1]})],
        [
            Gap(
                1795337900000000000,
                1795337912000000000,
                "connection_lost",
                filled=11,
                detail='opc.tcp://10.0.0.7 said "going down"',
            ),
            Gap(1795337912000000000, 1795337914000000000, "overflow", ["flow", "bearing_temp"], 37),
        ],
    ),
}

segments = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,12}", fullmatch=True)
tag_names = st.text(min_size=1, max_size=20).filter(str.isprintable)
numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    """Any frame that a gateway may send."""
    times = sorted(draw(st.sets(st.integers(1, 2**63 - 1), min_size=1, max_size=8)))
    tags = draw(st.sets(tag_names, min_size=1, max_size=5))
    columns = st.lists(numbers, min_size=len(times), max_size=len(times))
    rows = st.integers(0, len(times) - 1)
    codes = st.dictionaries(rows, st.integers(0, 2**32 - 1), max_size=3)
    return Frame(
        times,
        {tag: draw(columns) for tag in sorted(tags)},
        draw(st.dictionaries(st.sampled_from(sorted(tags)), codes, max_size=2)),
        draw(st.dictionaries(st.sampled_from(sorted(tags)), st.lists(rows, max_size=2), max_size=2)),
    )


@st.composite
def gaps(draw: st.DrawFn) -> Gap:
    """Any gap that a gateway may record."""
    first = draw(st.integers(0, 2**63 - 2))
    return Gap(
        first,
        draw(st.integers(first + 1, 2**63 - 1)),
        draw(st.sampled_from(["connection_lost", "overflow", "gateway_down"])),
        draw(st.lists(tag_names, max_size=3)),
        draw(st.none() | st.integers(0, 2**40)),
        draw(st.integers(0, 2**40)),
        draw(st.text(max_size=20)),
    )


batches = st.builds(
    Batch,
    segments,
    st.from_regex(r"[0-9a-f]{1,32}", fullmatch=True),
    st.integers(1, 2**53),
    st.lists(frames(), max_size=4),
    st.lists(gaps(), max_size=2),
)


@given(batches)
def test_what_is_sent_is_what_arrives(batch: Batch) -> None:
    """Every value, timestamp and status code survives the wire exactly."""
    assert decode_batch(encode_batch(batch)) == batch


@given(batches, st.data())
def test_keys_that_we_do_not_know_are_passed_over(batch: Batch, draw: st.DataObject) -> None:
    """A newer gateway may say more; spaces and line ends do not matter either."""
    wire = json.loads(encode_batch(batch))
    wire["zz-later"] = draw.draw(st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3))
    assert decode_batch(json.dumps(wire, indent=1).encode()) == batch


@pytest.mark.parametrize("name", GOLDEN_BATCHES)
def test_the_golden_payloads_stand(name: str) -> None:
    """The wire is a promise to gateways in the field: these bytes are written and read for ever."""
    payload = (GOLDEN / f"{name}.json").read_bytes()
    assert encode_batch(GOLDEN_BATCHES[name]) == payload
    assert decode_batch(payload) == GOLDEN_BATCHES[name]


def test_values_are_counted_without_the_missing_ones() -> None:
    """A reading that is None is not a value."""
    assert count_values(GOLDEN_BATCHES["batch_design"].frames) == 3


@given(st.lists(frames(), max_size=4), st.sampled_from(["null", '"null,', "[null]", "ull"]))
def test_a_look_at_the_bytes_counts_what_is_there(some: list[Frame], name: str) -> None:
    """With the encoded frames at hand the count is the same, whatever tags are called."""
    for told in (some, [*some, Frame([1, 2], {name: (1.0, 2.0)})], [*some, Frame([1], {name: (None,)})]):
        by_hand = sum(
            value is not None for frame in told for column in frame.values.values() for value in column
        )
        assert count_values(told) == count_values(told, encode_frames(told)) == by_hand


@given(batches)
def test_a_column_is_a_list_or_a_tuple(batch: Batch) -> None:
    """Both are the same on the wire, and lists behind it."""
    frozen = [
        msgspec.structs.replace(frame, values={tag: tuple(column) for tag, column in frame.values.items()})
        for frame in batch.frames
    ]
    payload = encode_batch(msgspec.structs.replace(batch, frames=frozen))
    assert payload == encode_batch(batch)
    assert decode_batch(payload) == batch


def wire(**changes: Any) -> bytes:
    """A small good payload with some of its keys replaced."""
    good: dict[str, Any] = {"v": 1, "gateway": "pi", "epoch": "ab", "sequence": 1}
    good["frames"] = [
        {"timestamps": [1, 2], "values": {"a": [1.0, None]}, "quality": {"a": {"1": 2147483648}}}
    ]
    return json.dumps(good | changes).encode()


def gap_wire(**changes: Any) -> bytes:
    """A small good payload with some keys of its one gap replaced."""
    return wire(gaps=[{"first": 1, "last": 2, "reason": "overflow"} | changes])


def frame_wire(**changes: Any) -> bytes:
    """A small good payload with some keys of its one frame replaced."""
    frame = {"timestamps": [1, 2], "values": {"a": [1.0, 2.0]}}
    return wire(frames=[frame | changes])


HOSTILE = {
    "empty": b"",
    "no JSON": b"\x00\x01\x02",
    "bad UTF-8 in a name": wire().replace(b'"a"', b'"\xff\xfe"'),
    "cut off": wire()[:-5],
    "a list": b"[]",
    "deep nesting": b"[" * 200_000,
    "deep nesting in an unknown key": wire()[:-1] + b',"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "NaN literal": wire().replace(b"1.0", b"NaN"),
    "infinity literal": wire().replace(b"1.0", b"Infinity"),
    "1e400": wire().replace(b"1.0", b"1e400"),
    "a huge int as value": wire().replace(b"1.0", b"9" * 5000),
    "a huge int in an unknown key": wire()[:-1] + b',"x":{"y":' + b"9" * 5000 + b"}}",
    "a huge int as sequence": wire(sequence=10**40),
    "a text value": frame_wire(values={"a": ["1", "2"]}),
    "a column too short": frame_wire(values={"a": [1.0]}),
    "no timestamps": frame_wire(timestamps=[], values={"a": []}),
    "no tags": frame_wire(values={}),
    "times backwards": frame_wire(timestamps=[2, 1]),
    "times repeated": frame_wire(timestamps=[2, 2]),
    "time zero": frame_wire(timestamps=[0, 1]),
    "time beyond int64": frame_wire(timestamps=[1, 2**63]),
    "a name too long": frame_wire(values={"a" * 129: [1.0, 2.0]}),
    "an empty name": frame_wire(values={"": [1.0, 2.0]}),
    "a line end in a name": frame_wire(values={"a\nb": [1.0, 2.0]}),
    "quality of an unknown tag": frame_wire(quality={"b": {"0": 1}}),
    "quality of no row": frame_wire(quality={"a": {"2": 1}}),
    "quality of a negative row": frame_wire(quality={"a": {"-1": 1}}),
    "a status code too large": frame_wire(quality={"a": {"0": 2**32}}),
    "a repeat of an unknown tag": frame_wire(repeats={"b": [0]}),
    "a repeat of no row": frame_wire(repeats={"a": [2]}),
    "a gap backwards": gap_wire(first=2, last=2),
    "a gap for no known reason": gap_wire(reason="because"),
    "a gap of fewer than no values": gap_wire(values=-1),
    "a gap with a novel": gap_wire(detail="x" * 301),
    "a gap of a nameless tag": gap_wire(tags=[""]),
    "a gap that says a thing twice": gap_wire().replace(b'"first": 1', b'"first": 1, "first": 1'),
    "a gateway with a slash": wire(gateway="pi/../x"),
    "an epoch with a quote": wire(epoch='a"b'),
    "sequence zero": wire(sequence=0),
    "an unknown version": wire(v=2),
    "an unknown version and shape": b'{"v":7,"stuff":[]}',
    "version twice": wire()[:-1] + b',"v":1}',
    "a tag twice": wire().replace(b'"a": [1.0, null]', b'"a": [1.0, null], "a": [3.0, 4.0]'),
    "an unknown key twice": wire()[:-1] + b',"x":1,"x":2}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_payloads_end_in_one_named_error(name: str) -> None:
    """Whatever arrives, the ingester sees a batch or `BatchRejected` with a reason, nothing else."""
    with pytest.raises(BatchRejected) as caught:
        decode_batch(HOSTILE[name])
    assert str(caught.value)


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_noise_ends_in_one_named_error(noise: bytes) -> None:
    """Random bytes are refused, never half understood."""
    with pytest.raises(BatchRejected):
        decode_batch(noise)


@given(batches, st.integers(0, 10_000), st.binary(min_size=1, max_size=3))
def test_a_damaged_payload_is_refused_or_a_whole_batch(batch: Batch, where: int, damage: bytes) -> None:
    """Overwritten bytes never end in another error than ours."""
    payload = encode_batch(batch)
    at = where % len(payload)
    try:
        decoded = decode_batch(payload[:at] + damage + payload[at + len(damage) :])
    except BatchRejected:
        return
    assert all(len(column) == len(f.timestamps) for f in decoded.frames for column in f.values.values())


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (wire(v=2), "schema version 2 is not known here (this side reads 1)"),
        (b'{"v":7,"stuff":[]}', "schema version 7 is not known here"),
        (frame_wire(values={"a": [1.0]}), "frames[0].values['a'] has 1 values for 2 timestamps"),
        (wire()[:-1] + b',"v":1}', "key 'v' stands twice"),
    ],
)
def test_the_reason_says_what_is_wrong(payload: bytes, reason: str) -> None:
    """A dead letter's reason lets a person mend the sender."""
    with pytest.raises(BatchRejected) as caught:
        decode_batch(payload)
    assert reason in str(caught.value)


def test_a_payload_beyond_the_limit_is_not_even_read() -> None:
    """The bound on size comes before the work."""
    with pytest.raises(BatchRejected, match="bytes, more than"):
        decode_batch(b" " * (4 * 1024 * 1024 + 1))


@pytest.mark.parametrize("name", sorted(name for name, batch in GOLDEN_BATCHES.items() if not batch.gaps))
def test_frames_that_were_encoded_before_their_sequence_was_known_are_the_same_bytes(name: str) -> None:
    """Encoding in two steps changes nothing on the wire."""
    batch = GOLDEN_BATCHES[name]
    framed = encode_framed(batch.gateway, batch.epoch, batch.sequence, encode_frames(batch.frames))
    assert framed == encode_batch(batch)
