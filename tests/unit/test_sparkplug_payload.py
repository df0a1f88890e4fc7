"""Sparkplug B payloads: encoder and decoder against each other and against npm's sparkplug-payload."""

import json
import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.sparkplug.decoding import PayloadRejected, decode_payload
from edge.sparkplug.payload import (
    BOOLEAN,
    DOUBLE,
    INT32,
    INT64,
    STRING,
    Metric,
    Payload,
    Property,
    encode_payload,
    encode_varint,
)
from tests.servers import find_peer
from tests.unit.sparkplug_rig import NOW_MS, ask_npm, read_by_npm

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=40)
NUMBERS = st.integers(0, 2**63 - 1)
DOUBLES = st.floats(allow_nan=False)
VALUES = st.one_of(
    st.tuples(st.just(DOUBLE), DOUBLES),
    st.tuples(st.just(BOOLEAN), st.booleans()),
    st.tuples(st.just(INT64), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just(INT32), st.integers(-(2**31), 2**31 - 1)),
    st.tuples(st.just(STRING), TEXTS),
)


@st.composite
def metrics(draw: st.DrawFn) -> Metric:
    """Draw a metric of any kind that the edge sends."""
    datatype, value = draw(VALUES)
    is_null = draw(st.booleans())
    properties = {key: Property(*draw(VALUES)) for key in draw(st.lists(TEXTS, max_size=3, unique=True))}
    return Metric(
        name=draw(st.none() | TEXTS),
        alias=draw(st.none() | NUMBERS),
        timestamp=draw(st.none() | NUMBERS),
        datatype=datatype,
        value=None if is_null else value,
        is_historical=draw(st.booleans()),
        is_null=is_null,
        properties=properties,
    )


PAYLOADS = st.builds(
    Payload, st.none() | NUMBERS, st.lists(metrics(), max_size=5), st.none() | st.integers(0, 255)
)


@given(PAYLOADS)
def test_what_is_encoded_is_decoded_again(payload: Payload) -> None:
    """Names, aliases, timestamps, flags, properties and values of every type survive."""
    assert decode_payload(encode_payload(payload)) == payload


@given(st.binary(max_size=200))
def test_nonsense_is_refused_by_name(nonsense: bytes) -> None:
    """Any bytes are a payload or a PayloadRejected, nothing else."""
    try:
        decode_payload(nonsense)
    except PayloadRejected:
        return


@given(PAYLOADS, st.data())
def test_a_payload_that_was_cut_short_is_refused_or_holds_whole_metrics(
    payload: Payload, draw: st.DataObject
) -> None:
    """A metric is never taken from half of its bytes."""
    whole = encode_payload(payload)
    cut = whole[: draw.draw(st.integers(0, len(whole)))]
    try:
        found = decode_payload(cut)
    except PayloadRejected:
        return
    assert found.metrics == payload.metrics[: len(found.metrics)]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"\x08", "in the middle of a number"),
        (b"\x08" + b"\xff" * 10 + b"\x01", "more than ten bytes"),
        (b"\x12\x05ab", "in the middle of a field"),
        (b"\x0b", "wire type 3"),
        (b"\x00\x00", "the number 0"),
        (b"\x0a\x01a", "bytes stand where a number"),
        (b"\x10\x01", "a number stands where bytes"),
        (b"\x12\x03\x0a\x01\xff", "no UTF-8"),
        (b"\x12\x02\x4a\x00" + b"\x12\x05\x4a\x03\x0a\x01a", "1 property keys for 0 values"),
        (b"\x12\x05\x6d\x00\x00\x00\x00", "wrong size"),
    ],
)
def test_a_refusal_says_why(payload: bytes, reason: str) -> None:
    """What is wrong is named."""
    with pytest.raises(PayloadRejected, match=reason):
        decode_payload(payload)


def make_random_payloads(count: int) -> list[Payload]:
    """Return payloads as births and DDATA have them, with awkward numbers among them."""
    source = random.Random(3)
    doubles = [0.0, -0.0, 5e-324, 1.7976931348623157e308, math.pi, -61.5, 1e300, 2**53 + 0.0]
    payloads = []
    for _ in range(count):
        found = []
        for alias in range(source.randrange(6)):
            datatype, value = source.choice(
                [
                    (DOUBLE, source.choice(doubles) if source.random() < 0.5 else source.gauss(0, 1e6)),
                    (BOOLEAN, source.random() < 0.5),
                    (INT64, source.randrange(2**50)),  # npm's decoder takes negative ones for huge ones
                    (STRING, source.choice(["°C", "m³/h", "", "a" * 300])),
                ]
            )
            is_null = source.random() < 0.2
            found.append(
                Metric(
                    name=source.choice(["Node Control/Rebirth", "Tempé/rature", "x"]),
                    alias=source.randrange(2**40),
                    timestamp=source.randrange(2**45),
                    datatype=datatype,
                    value=None if is_null else value,
                    is_historical=source.random() < 0.5,
                    is_null=is_null,
                    properties={"engUnit": Property(STRING, "A"), "Quality": Property(INT32, 192)}
                    if alias % 2
                    else {},
                )
            )
        payloads.append(Payload(source.randrange(2**45), found, source.randrange(256)))
    return payloads


NPM_TYPES = {DOUBLE: "Double", BOOLEAN: "Boolean", INT64: "Int64", INT32: "Int32", STRING: "String"}


def test_npms_sparkplug_payload_reads_what_we_encode() -> None:
    """A decoder that was not written here reads 300 payloads as they were meant, in one process."""
    payloads = make_random_payloads(300)
    found = read_by_npm(find_peer("sparkplug-payload"), [encode_payload(payload) for payload in payloads])
    assert len(found) == len(payloads)
    for payload, read in zip(payloads, found, strict=True):
        assert (read["timestamp"], read["seq"]) == (payload.timestamp, payload.seq)
        for metric, said in zip(payload.metrics, read["metrics"], strict=True):
            assert said["name"] == metric.name
            assert said["alias"] == metric.alias
            assert said["timestamp"] == metric.timestamp
            assert said["type"] == NPM_TYPES[metric.datatype or 0]
            assert said["value"] == metric.value
            assert said.get("isHistorical", False) == metric.is_historical
            assert said["isNull"] == metric.is_null
            properties = {
                name: Property(metric.properties[name].datatype, one["value"])
                for name, one in said.get("properties", {}).items()
            }
            assert properties == metric.properties


def test_we_read_what_npms_sparkplug_payload_encodes() -> None:
    """A host's command, as Node-RED would send it: tck-id-payloads-ncmd-seq has no sequence number."""
    rebirth: dict[str, Any] = {
        "timestamp": NOW_MS,
        "metrics": [
            {"name": "Node Control/Rebirth", "type": "Boolean", "value": True, "timestamp": NOW_MS},
            {"name": "Setpoint", "type": "Int32", "value": -5},
            {"name": "Level", "type": "Double", "value": 61.5, "alias": 300},
            {"name": "Half", "type": "Float", "value": 0.5},
            {"name": "Word", "type": "String", "value": "°C"},
        ],
    }
    [line] = ask_npm(find_peer("sparkplug-payload"), [f"encode {json.dumps(rebirth)}"])
    read = decode_payload(bytes.fromhex(line))
    assert (read.timestamp, read.seq) == (NOW_MS, None)
    assert [(metric.name, metric.value) for metric in read.metrics] == [
        ("Node Control/Rebirth", True),
        ("Setpoint", -5),
        ("Level", 61.5),
        ("Half", 0.5),
        ("Word", "°C"),
    ]
    assert read.metrics[2].alias == 300


@given(st.integers(0, 2**64 - 1))
def test_a_number_takes_a_byte_for_every_seven_bits(number: int) -> None:
    """The protobuf specification's varint."""
    encoded = encode_varint(number)
    assert len(encoded) == max(1, math.ceil(number.bit_length() / 7))
    assert sum((byte & 0x7F) << 7 * at for at, byte in enumerate(encoded)) == number
    assert [byte >> 7 for byte in encoded] == [1] * (len(encoded) - 1) + [0]
