"""The private parts of asyncua on which reading answers the short way stands: all are in this file."""

import asyncio
import os
import struct
from collections.abc import Sequence
from contextlib import suppress
from inspect import signature
from time import monotonic, time_ns
from typing import Any

import asyncua
import msgspec
import structlog
from asyncua import ua
from asyncua.client.client import Client
from asyncua.client.ua_client import UaClient, UaClientState, UASocketProtocol
from asyncua.client.ua_session import UaSession
from asyncua.common.connection import SecureConnection
from asyncua.common.utils import Buffer
from asyncua.crypto.security_policies import SecurityPolicyNone
from asyncua.ua.ua_binary import nodeid_to_binary, struct_to_binary
from asyncua.ua.uaerrors import UaError

from edge.drivers.opcua.layouts import EPOCH_1970
from edge.drivers.opcua.messages import HEAD_BYTES, WHOLE, read_head, write_message, write_request_header

DECODER_VARIABLE = "FOREWARN_OPCUA_DECODER"
"""Set to `library` to have asyncua decode everything: for the diagnosis of a doubtful value."""

# asyncua lets through whatever its decoding of a garbled answer runs into: to us that is a lost connection.
FAILURES = (OSError, TimeoutError, UaError, ValueError, LookupError, struct.error)

_READ_REQUEST = b"\x01\x00\x77\x02"
"""The type id with which a ReadRequest begins: i=631, in four bytes."""

_LAST = 2**32 - 1
"""After this sequence number comes 1, as asyncua counts."""

_NEVER_S = 1e9

log = structlog.get_logger()


def _is_inside_as_expected() -> bool:
    parts = [
        (UaSession, "_send_request", {"request", "timeout"}),
        (UASocketProtocol, "data_received", {"data"}),
        (UASocketProtocol, "_call_callback", {"request_id", "body"}),
        (UASocketProtocol, "revolve_security_token", {"self"}),
        (UaClient, "_make_protocol", {"self"}),
        (Client, "_wait_for_health_signal", {"self"}),
        (SecureConnection, "message_to_binary", {"message", "request_id"}),
        (Buffer, "copy", {"size"}),
        (Buffer, "read", {"size"}),
    ]
    return asyncua.__version__.startswith("2.1.") and all(
        hasattr(owner, name) and wanted <= signature(getattr(owner, name)).parameters.keys()
        for owner, name, wanted in parts
    )


def choose_decoder() -> bool:
    """Return whether answers are read the short way; say in the log why not."""
    if os.environ.get(DECODER_VARIABLE) == "library":
        log.info("opcua_decoder", decoder="library", reason=f"{DECODER_VARIABLE} asks for it")
        return False
    if not _is_inside_as_expected():
        reason = f"asyncua {asyncua.__version__} is not the version that the faster one knows"
        log.warning("opcua_decoder", decoder="library", reason=reason)
        return False
    return True


_IS_SHORT = choose_decoder()


def is_short() -> bool:
    """Return whether answers are read the short way."""
    return _IS_SHORT


class PreparedRead(msgspec.Struct):
    """A bulk Read: which tags its nodes are, asyncua's object of it, and the bytes that follow its header.

    `is_sorted` once the nodes stand in the order in which their values are read fastest.
    """

    places: list[int]
    wish: ua.ReadParameters
    octets: bytes
    is_sorted: bool = False


def prepare_read(places: list[int], wish: ua.ReadParameters) -> PreparedRead:
    """Write the Read down once: writing a thousand nodes anew costs more than reading their values."""
    return PreparedRead(places, wish, struct_to_binary(wish))


def sort_read(read: PreparedRead, kinds: Sequence[int]) -> None:
    """Ask for the nodes type by type from now on: values that are alike in a row are read at once."""
    read.is_sorted = True
    if len(set(kinds)) > 1:
        order, nodes = sorted(range(len(kinds)), key=kinds.__getitem__), read.wish.NodesToRead
        read.places = [read.places[at] for at in order]
        read.wish.NodesToRead = [nodes[at] for at in order]
        read.octets = struct_to_binary(read.wish)


class ShortProtocol(UASocketProtocol):
    """asyncua's connection, with a short way for messages that are neither signed nor encrypted.

    asyncua makes a dozen objects of each. Whatever is not plain to see is its own to read, and to refuse.
    """

    heard_s = 0.0
    """When something came last."""
    _known_token: ua.NodeId | None = None
    _token_octets = b""

    def send_octets(self, kind: bytes, octets: bytes, timeout_s: float) -> "asyncio.Future[Buffer]":
        """Send a request of this type; raise as asyncua does. `octets` follow its header."""
        if self.transport is None:
            raise ConnectionError("Connection is not open")
        if self.authentication_token is not self._known_token:
            self._token_octets = nodeid_to_binary(self.authentication_token)
            self._known_token = self.authentication_token
        self.revolve_security_token()
        self._request_handle += 1
        time = time_ns() // 100 + EPOCH_1970
        header = write_request_header(
            self._token_octets, time, self._request_handle, round(timeout_s * 1_000)
        )
        message = self._write(kind + header + octets, self._request_id + 1)
        self._request_id += 1
        answer: asyncio.Future[Buffer] = asyncio.get_running_loop().create_future()
        self._callbackmap[self._request_id] = answer
        self.transport.write(message)
        return answer

    def _write(self, body: bytes, request_id: int) -> bytes:
        line = self._connection
        if not self._is_plain() or HEAD_BYTES + len(body) > line._limits.max_send_buffer:  # noqa: SLF001  # checked at import, as all here
            return line.message_to_binary(body, request_id=request_id)
        line._sequence_number = line._sequence_number % _LAST + 1  # noqa: SLF001
        token = line.security_token
        return write_message(token.ChannelId, token.TokenId, line._sequence_number, request_id, body)  # noqa: SLF001

    def _is_plain(self) -> bool:
        return type(self._connection.security_policy) is SecurityPolicyNone

    def data_received(self, octets: bytes) -> None:
        """Pass the answers in what has come on to who waits for them."""
        self.heard_s = monotonic()
        if self.receive_buffer:
            octets, self.receive_buffer = self.receive_buffer + octets, None
        at = self._take_plain(octets) if self._is_plain() else 0
        if at < len(octets):
            super().data_received(octets[at:])

    def _take_plain(self, octets: bytes) -> int:
        """Take the messages that asyncua would take, up to one that is in any way odd; return where it is."""
        line, at = self._connection, 0
        expected = (WHOLE, line.security_token.ChannelId, line.security_token.TokenId)
        size_max = line._limits.max_recv_buffer  # noqa: SLF001
        while (head := read_head(octets, at)) is not None:
            is_next = head.sequence - 1 == line._peer_sequence_number  # noqa: SLF001
            is_expected = (head.kind, head.channel_id, head.token_id) == expected
            if not is_next or not is_expected or head.size > size_max or line._incoming_parts:  # noqa: SLF001
                break
            if head.request_id not in self._callbackmap:
                break
            line._peer_sequence_number = head.sequence  # noqa: SLF001
            self._call_callback(head.request_id, Buffer(octets[at + HEAD_BYTES : at + head.size]))
            at += head.size
        return at


def take_short_way(client: Client) -> None:
    """Have a client that is not connected yet take the short way, where it is known, and never tick idly."""
    if not _IS_SHORT:
        return
    make_protocol, inner = client.uaclient._make_protocol, client.uaclient  # noqa: SLF001

    def make_short_protocol() -> UASocketProtocol:
        protocol = make_protocol()
        protocol.__class__ = ShortProtocol
        return protocol

    async def wait_for_health_signal() -> None:
        begun_s = monotonic()
        async with inner.subscribe_state() as changes:
            with suppress(TimeoutError):
                await changes.next_change(client._watchdog_intervall)  # noqa: SLF001
        if inner.state is UaClientState.CONNECTED and _get_protocol(inner).heard_s < begun_s:
            await asyncio.wait_for(client.nodes.server_state.read_value(), client._watchdog_intervall)  # noqa: SLF001

    inner._make_protocol = make_short_protocol  # type: ignore[method-assign]  # noqa: SLF001  # of this client alone
    client._wait_for_health_signal = wait_for_health_signal  # type: ignore[method-assign]  # noqa: SLF001  # as above
    # It looks after subscriptions of asyncua's own, twice a second. There are none.
    client._stale_check_interval = _NEVER_S  # noqa: SLF001


async def ask_prepared(client: UaClient, read: PreparedRead, timeout_s: float) -> Buffer:
    """Return the answer to a Read that is written down already; raise as asyncua does."""
    protocol = _get_protocol(client)
    if protocol.pre_request_hook is not None:
        await protocol.pre_request_hook()
    answer = protocol.send_octets(_READ_REQUEST, read.octets, timeout_s)
    # A third of what asyncio.timeout costs.
    end = asyncio.get_running_loop().call_later(timeout_s, _give_up, answer)
    try:
        return await answer
    finally:
        end.cancel()


def _give_up(answer: "asyncio.Future[Buffer]") -> None:
    if not answer.done():
        answer.set_exception(TimeoutError())


async def ask(client: UaClient, request: Any) -> Buffer:
    """Return the answer to a request; raise as asyncua does."""
    return await client.session._send_request(request)  # noqa: SLF001  # checked at import


def begin(client: UaClient, kind: bytes, octets: bytes) -> "asyncio.Future[Buffer]":
    """Send a request that may be answered at any time; raise `ConnectionError`."""
    return _get_protocol(client).send_octets(kind, octets, 0)


def _get_protocol(client: UaClient) -> ShortProtocol:
    protocol = client.protocol
    if protocol is None or protocol.transport is None:
        raise ConnectionError("Connection is not open")
    assert isinstance(protocol, ShortProtocol)  # `take_short_way` was there first
    return protocol


def take_octets(answer: Buffer) -> bytes:
    """Return the bytes of an answer, and leave them in it."""
    return answer.copy().read(len(answer))


def check_answer(client: UaClient, answer: Buffer) -> None:
    """Raise what a service fault says, as asyncua does."""
    _get_protocol(client).check_answer(answer, "")
