"""One bulk Read: its answer straight into observations, or by asyncua's objects where that is unusual."""

import os
from collections.abc import Sequence
from inspect import signature
from time import time_ns

import asyncua
import structlog
from asyncua import ua
from asyncua.client.ua_client import UaClient
from asyncua.client.ua_session import UaSession
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary

from edge.drivers.columns import Observation, convert_time, convert_value
from edge.drivers.opcua.values import Unusual, decode_read

DECODER_VARIABLE = "FOREWARN_OPCUA_DECODER"
"""Set to `library` to have asyncua decode everything: for the diagnosis of a doubtful value."""

log = structlog.get_logger()


def _is_inside_as_expected() -> bool:
    """Return whether asyncua still has the private parts on which the short way stands."""
    sends = getattr(UaSession, "_send_request", None)
    reads = getattr(Buffer, "copy", None) and getattr(Buffer, "read", None)
    return bool(
        asyncua.__version__.startswith("2.1.")
        and sends
        and reads
        and "request" in signature(sends).parameters
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


async def read_values(client: UaClient, wish: ua.ReadParameters, names: Sequence[str]) -> list[Observation]:
    """Return an observation of each name, in the order of the nodes in `wish`; raise as asyncua does."""
    if not _IS_SHORT:
        answers = await client.read(wish)
    else:
        request = ua.ReadRequest(Parameters=wish)
        answer = await client.session._send_request(request)  # noqa: SLF001  # checked at import
        try:
            return decode_read(answer.copy().read(len(answer)), names, time_ns())
        except Unusual:
            response = struct_from_binary(ua.ReadResponse, answer)
            response.ResponseHeader.ServiceResult.check()
            answers = response.Results
    now_ns = time_ns()
    return [observe(name, answer, now_ns) for name, answer in zip(names, answers, strict=True)]


def code_of(answer: ua.DataValue) -> int:
    """Return the status code of an answer; one that is not sent is good."""
    return 0 if answer.StatusCode is None else int(answer.StatusCode.value)


def observe(name: str, answer: ua.DataValue, received_ns: int) -> Observation:
    """Return what a server answered of one tag, in our own types."""
    variant = answer.Value
    is_float32 = variant is not None and variant.VariantType is ua.VariantType.Float
    raw = None if variant is None else variant.Value
    value, code = convert_value(raw, code_of(answer), is_float32=is_float32)
    return name, convert_time(answer.SourceTimestamp, answer.ServerTimestamp) or received_ns, value, code
