"""Requests and answers that take the short way are byte for byte what the library would send and take."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from asyncua import ua
from asyncua.client.ua_client import UASocketProtocol
from asyncua.common.connection import SecureConnection, TransportLimits
from asyncua.crypto.security_policies import SecurityPolicyNone
from asyncua.ua.ua_binary import nodeid_to_binary, struct_to_binary
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.drivers.opcua.inside import ShortProtocol
from edge.drivers.opcua.layouts import EPOCH_1970
from edge.drivers.opcua.messages import HEAD_BYTES, write_message, write_request_header
from edge.drivers.opcua.notifications import write_acknowledgements

LAST = 2**32 - 1
CHANNEL, TOKEN = 7, 8
REQUESTS = 6
TAKEN_BYTES_MAX = 180
numbers = st.integers(1, LAST)


def make_line(sequence: int = 0, piece_bytes: int = 65_535) -> SecureConnection:
    """Return the state of a connection without security, which has sent so many messages."""
    line = SecureConnection(SecurityPolicyNone(), TransportLimits(TAKEN_BYTES_MAX, piece_bytes, 0, 0))
    line.security_token.ChannelId, line.security_token.TokenId = ua.UInt32(CHANNEL), ua.UInt32(TOKEN)
    line._sequence_number = sequence
    return line


@given(numbers, numbers, st.binary(min_size=1, max_size=50))
def test_a_message_is_written_as_the_library_writes_it(sequence: int, request: int, body: bytes) -> None:
    """The head, and the body behind it."""
    expected = make_line(sequence - 1).message_to_binary(body, request_id=request)
    assert write_message(CHANNEL, TOKEN, sequence, request, body) == expected


tokens = st.builds(ua.NodeId, st.integers(256, LAST), st.integers(0, 99)) | st.builds(
    lambda octets: ua.NodeId(octets, 1, ua.NodeIdType.ByteString), st.binary(min_size=1, max_size=32)
)


@given(tokens, st.integers(0, 10**15), numbers, st.integers(0, LAST))
def test_a_request_begins_as_the_library_begins_it(
    token: ua.NodeId, microseconds: int, handle: int, timeout_ms: int
) -> None:
    """Session, time, number and time-out, and nothing else."""
    header = ua.RequestHeader(token, datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds))
    header.RequestHandle, header.TimeoutHint = ua.IntegerId(handle), ua.UInt32(timeout_ms)
    time = EPOCH_1970 + 10 * microseconds
    assert write_request_header(nodeid_to_binary(token), time, handle, timeout_ms) == struct_to_binary(header)


@given(st.lists(st.tuples(numbers, numbers), max_size=4))
def test_messages_are_acknowledged_as_the_library_does_it(told: list[tuple[int, int]]) -> None:
    """Subscription and number of each."""
    acknowledged = [ua.SubscriptionAcknowledgement(ua.IntegerId(one), ua.Counter(two)) for one, two in told]
    assert write_acknowledgements(told) == struct_to_binary(ua.PublishParameters(acknowledged))


class Wire(asyncio.Transport):
    """Where a protocol writes: kept."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.is_over = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep it."""
        self.sent.append(bytes(data))

    def close(self) -> None:
        """Remember that it was closed."""
        self.is_over = True


def connect(kind: type[UASocketProtocol], line: SecureConnection) -> tuple[UASocketProtocol, Wire]:
    """Return a protocol that is connected."""
    wire, protocol = Wire(), kind()
    protocol.connection_made(wire)
    protocol._connection = line
    line._open = True
    return protocol, wire


def take(kind: type[UASocketProtocol], parts: list[bytes]) -> object:
    """Return what a protocol makes of bytes that come in parts: answers by request, and its state."""
    loop = asyncio.new_event_loop()
    protocol, wire = connect(kind, make_line())
    waiting = {number: loop.create_future() for number in range(1, REQUESTS + 1)}
    protocol._callbackmap = dict(waiting)
    for part in parts:
        if not wire.is_over:
            protocol.data_received(part)
    answers = {
        number: one.exception() or one.result().copy().read(len(one.result()))
        for number, one in waiting.items()
        if one.done()
    }
    loop.close()
    line = protocol._connection
    left = (sorted(protocol._callbackmap), len(line._incoming_parts), line._peer_sequence_number)
    return repr(answers), left, protocol.receive_buffer or None, wire.is_over


sizes = st.sampled_from([1, 20, 20, 90, 150, 160, 300])
bodies = st.lists(sizes.map(bytes), min_size=2, max_size=REQUESTS)
places = st.integers(0, 6)
oddities = st.tuples(st.integers(1, 4), st.sampled_from([0, 3, 4, 8, 12, 16, 20]), st.integers(1, 255))


@settings(max_examples=600, deadline=None)
@given(bodies, st.sampled_from([100, 200, 65_535]), st.sets(places), st.none() | oddities, st.integers(0, 99))
def test_answers_are_taken_as_the_library_takes_them(
    told: list[bytes], piece_bytes: int, glued: set[int], odd: tuple[int, int, int] | None, cut: int
) -> None:
    """Whole and in pieces, alone and several at once, cut anywhere, and with one thing wrong in a head."""
    server = make_line(piece_bytes=piece_bytes)
    stream = b"".join(server.message_to_binary(body, request_id=at) for at, body in enumerate(told, 1))
    pieces = []
    while stream:
        size = int.from_bytes(stream[4:8], "little")
        pieces.append(stream[:size])
        stream = stream[size:]
    if odd is not None and odd[0] < len(pieces):
        octets = bytearray(pieces[odd[0]])
        octets[odd[1]] = (octets[odd[1]] + odd[2]) % 256
        pieces[odd[0]] = bytes(octets)
    parts: list[bytes] = []
    for at, piece in enumerate(pieces):
        if at in glued and parts:
            parts[-1] += piece
        else:
            parts.append(piece)
    if parts and len(parts[-1]) > cut > 0:
        parts[-1:] = [parts[-1][:cut], parts[-1][cut:]]
    assert take(ShortProtocol, parts) == take(UASocketProtocol, parts)


@pytest.mark.parametrize("pieces", [1, 3])
async def test_a_request_is_sent_as_the_library_sends_it(pieces: int) -> None:
    """In one piece, and in several where the server takes no longer ones; numbered on in either case."""
    sent = []
    for kind in (ShortProtocol, UASocketProtocol):
        protocol, wire = connect(kind, make_line(LAST - 1, piece_bytes=200))
        for _ in range(2):
            acknowledged = [ua.SubscriptionAcknowledgement() for _ in range(20 * pieces - 10)]
            if isinstance(protocol, ShortProtocol):
                protocol.send_octets(
                    b"\x01\x00\x3a\x03", write_acknowledgements([(0, 0)] * len(acknowledged)), 2.5
                )
            else:
                protocol._send_request(ua.PublishRequest(Parameters=ua.PublishParameters(acknowledged)), 2.5)
        time = slice(HEAD_BYTES + 6, HEAD_BYTES + 14)
        sent.append([(one[: time.start], one[time.stop :]) for one in wire.sent])
    assert sent[0] == sent[1]
    assert len(sent[0]) == 2
