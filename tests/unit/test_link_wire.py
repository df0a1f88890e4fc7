"""The short way of MQTT packets, held against paho's own reading of them."""

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import _packet
from paho.mqtt.client import MQTTv5
from paho.mqtt.enums import _ConnectionState
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from models.link import LinkMessage
from models.link.shortcut import ShortcutClient
from models.link.wire import (
    Malformed,
    find_packet,
    make_puback,
    make_publish,
    read_puback,
    read_publish,
)

TOPICS = st.text(st.characters(codec="utf-8", exclude_characters="+#\0"), min_size=1, max_size=200)
MIDS = st.integers(1, 65_535)
PAYLOADS = st.binary(max_size=400) | st.integers(16_000, 17_000).map(bytes)


def _write_publish(topic: str, payload: bytes, mid: int, qos: int, content_type: str = "") -> bytes:
    """Return a PUBLISH as a broker may write it, with a property where `content_type` is not empty."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's is untyped
    if content_type:
        properties.ContentType = content_type
    told = topic.encode()
    head = len(told).to_bytes(2, "big") + told + (mid.to_bytes(2, "big") if qos else b"")
    body = head + properties.pack() + payload  # type: ignore[no-untyped-call]  # paho's is untyped
    length, size = bytearray(), len(body)
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([0x30 | qos << 1, *length, size]) + body


@given(TOPICS, MIDS, PAYLOADS, st.booleans())
def test_what_we_write_paho_reads(topic: str, mid: int, payload: bytes, retain: bool) -> None:
    """Topic, id, payload and quality of service are the ones that were meant."""
    packet = make_publish(topic.encode(), mid, payload, retain=retain)
    bounds = find_packet(packet, 0)
    assert bounds is not None
    assert bounds[1] == len(packet)
    read = _packet.decode_publish(packet[0], packet[bounds[0] :], MQTTv5)
    assert (read.topic.decode(), read.mid, read.payload, read.qos) == (topic, mid, payload, 1)
    assert (read.retain, read.dup) == (retain, False)


@given(TOPICS, MIDS, PAYLOADS, st.integers(0, 1), st.text(max_size=20))
def test_what_a_broker_writes_we_read(topic: str, mid: int, payload: bytes, qos: int, kind: str) -> None:
    """At both qualities of service, with properties and without."""
    packet = _write_publish(topic, payload, mid, qos, kind)
    begin, end = find_packet(packet, 0) or (0, 0)
    assert read_publish(packet, 0, begin, end) == (topic, payload, mid if qos else 0, qos)


@given(st.binary(max_size=40))
def test_no_bytes_break_the_reading(noise: bytes) -> None:
    """Whatever comes is a message, none, or no MQTT."""
    try:
        bounds = find_packet(noise, 0)
    except Malformed:
        assert all(octet > 0x7F for octet in noise[1:5])
        return
    if bounds is not None and bounds[1] <= len(noise):
        read_publish(noise, 0, *bounds)
        read_puback(noise, *bounds)


def test_answers_with_and_without_a_reason() -> None:
    """Two bytes mean success; the third is the reason, what follows it is for people."""
    for body, expected in (
        (b"\x00\x07", (7, 0)),
        (b"\x01\x00\x10", (256, 16)),
        (b"\x01\x00\x97\x05\x1f\x00\x02no", (256, 151)),
        (b"\x01", None),
    ):
        packet = bytes([0x40, len(body)]) + body
        assert read_puback(packet, 2, len(packet)) == expected
    assert make_puback(258) == b"\x40\x02\x01\x02"


class _Line:
    """A client whose connection's other end is in our hand."""

    def __init__(self) -> None:
        self.messages: list[LinkMessage] = []
        self.answers: list[tuple[int, int]] = []
        self.client = ShortcutClient(
            "line",
            on_taken=self.messages.append,
            on_answered=lambda mid, code: self.answers.append((mid, code)),
        )
        ours, self.theirs = socket.socketpair()
        ours.setblocking(False)
        self.client._sock = ours
        self.client._state = _ConnectionState.MQTT_CS_CONNECTED  # as after a CONNACK
        self.client.begin_anew()
        self.client.limit_inflight(20)

    def close(self) -> None:
        self.client._sock_close()
        self.theirs.close()


@pytest.fixture
def line() -> Iterator[_Line]:
    """A connected client."""
    made = _Line()
    yield made
    made.close()


@given(st.data())
def test_packets_come_whole_however_they_are_cut(data: st.DataObject) -> None:
    """A stream of messages and answers, cut anywhere, gives the same messages and answers."""
    line = _Line()
    mids = [line.client.send_message("t", b"x", retain=False) for _ in range(3)]
    assert None not in mids
    expected = [LinkMessage("a/b", bytes([at]) * (at * 40), at + 1, 1) for at in range(5)]
    stream = b"".join(
        [_write_publish(one.topic, one.payload, one.mid, 1) for one in expected]
        + [bytes([0x40, 3]) + (mid or 0).to_bytes(2, "big") + bytes([16]) for mid in mids]
        + [b"\xd0\x00"]  # a PINGRESP, which is for paho
    )
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=12)))
    line.client._ping_t = 1.0
    for first, last in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        line.theirs.sendall(stream[first:last])
        line.client.take()
    assert line.messages == expected
    assert line.answers == [(mid, 16) for mid in mids]
    assert line.client._ping_t == 0
    line.close()


def test_a_packet_in_pieces_is_finished_first(line: _Line) -> None:
    """What the socket took in part goes on before anything of paho's, and after it new messages go short."""
    payload = bytes(3_000_000)
    first = line.client.send_message("t", payload, retain=False)
    assert line.client.want_write()
    assert line.client.send_message("t", b"late", retain=False) is None
    second = line.client.publish("t", b"late", qos=1).mid
    line.client.send_acks([5, 6])
    came = bytearray()
    while line.client.want_write():
        came += line.theirs.recv(1_000_000)
        line.client.loop_write()
    came += line.theirs.recv(1_000_000)
    size = len(make_publish(b"t", first or 0, payload))
    assert bytes(came[:size]) == make_publish(b"t", first or 0, payload)
    assert bytes(came[size:]) == make_publish(b"t", second, b"late") + make_puback(5) + make_puback(6)
    line.theirs.sendall(bytes([0x40, 2]) + second.to_bytes(2, "big"))
    line.client.take()
    assert line.client.send_message("t", b"again", retain=False) is not None


def test_the_end_of_a_connection_is_told(line: _Line) -> None:
    """Whoever reads to the end learns that there is none any more; writing into the void raises nothing."""
    ends: list[object] = []
    line.client.on_disconnect = lambda *facts: ends.append(facts)
    line.theirs.close()
    line.client.send_message("t", b"x", retain=False)
    line.client.take()
    assert len(ends) == 1
    assert line.client.socket() is None
    line.client.take()
    assert len(ends) == 1
