"""The private parts of asyncua on which reading answers the short way stands: all are in this file."""

import asyncio
import os
import struct
from inspect import signature
from typing import Any

import asyncua
import msgspec
import structlog
from asyncua import ua
from asyncua.client.ua_client import UaClient, UASocketProtocol
from asyncua.client.ua_session import UaSession
from asyncua.common.connection import SecureConnection
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_to_binary
from asyncua.ua.uaerrors import UaError

DECODER_VARIABLE = "FOREWARN_OPCUA_DECODER"
"""Set to `library` to have asyncua decode everything: for the diagnosis of a doubtful value."""

# asyncua lets through whatever its decoding of a garbled answer runs into: to us that is a lost connection.
FAILURES = (OSError, TimeoutError, UaError, ValueError, LookupError, struct.error)

_READ_REQUEST = b"\x01\x00\x77\x02"
"""The type id with which a ReadRequest begins: i=631, in four bytes."""

log = structlog.get_logger()


def _is_inside_as_expected() -> bool:
    parts = [
        (UaSession, "_send_request", {"request", "timeout"}),
        (UASocketProtocol, "_send_request", {"request", "timeout"}),
        (UASocketProtocol, "_setup_request_header", {"hdr", "timeout"}),
        (UASocketProtocol, "revolve_security_token", {"self"}),
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


class PreparedRead(msgspec.Struct, frozen=True):
    """A bulk Read: which tags its nodes are, asyncua's object of it, and the bytes that follow its header."""

    places: list[int]
    wish: ua.ReadParameters
    octets: bytes


def prepare_read(places: list[int], wish: ua.ReadParameters) -> PreparedRead:
    """Write the Read down once: writing a thousand nodes anew costs more than reading their values."""
    return PreparedRead(places, wish, struct_to_binary(wish))


async def ask_prepared(client: UaClient, read: PreparedRead, timeout_s: float) -> Buffer:
    """Return the answer to a Read that is written down already; raise as asyncua does."""
    protocol = _get_protocol(client)
    if protocol.pre_request_hook is not None:
        await protocol.pre_request_hook()
    header = ua.RequestHeader()
    protocol._setup_request_header(header, timeout_s)  # noqa: SLF001  # checked at import, as all below
    protocol.revolve_security_token()
    request_id = protocol._request_id + 1  # noqa: SLF001
    message = protocol._connection.message_to_binary(  # noqa: SLF001
        _READ_REQUEST + struct_to_binary(header) + read.octets, request_id=request_id
    )
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    protocol._request_id = request_id  # noqa: SLF001
    protocol._callbackmap[request_id] = answer  # noqa: SLF001
    if protocol.transport is None:
        raise ConnectionError("Connection is not open")
    protocol.transport.write(message)
    async with asyncio.timeout(timeout_s):
        got: Buffer = await answer
    return got


async def ask(client: UaClient, request: Any) -> Buffer:
    """Return the answer to a request; raise as asyncua does."""
    return await client.session._send_request(request)  # noqa: SLF001  # checked at import


def begin(client: UaClient, request: Any) -> "asyncio.Future[Buffer]":
    """Send a request that may be answered at any time; raise `ConnectionError`."""
    return _get_protocol(client)._send_request(request, 0)  # noqa: SLF001  # checked at import


def _get_protocol(client: UaClient) -> UASocketProtocol:
    protocol = client.protocol
    if protocol is None or protocol.transport is None:
        raise ConnectionError("Connection is not open")
    return protocol


def take_octets(answer: Buffer) -> bytes:
    """Return the bytes of an answer, and leave them in it."""
    return answer.copy().read(len(answer))


def check_answer(client: UaClient, answer: Buffer) -> None:
    """Raise what a service fault says, as asyncua does."""
    _get_protocol(client).check_answer(answer, "")
