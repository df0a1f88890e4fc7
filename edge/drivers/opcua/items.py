"""Asks a server which items it has in a subscription: what it accepted and what it follows can differ."""

from collections.abc import Set as Places

from asyncua import ua
from asyncua.client.ua_client import UaClient
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.uaerrors import UaStatusCodeError

from edge.drivers.opcua.client import OpcuaSession, make_node_id


async def count_items(session: OpcuaSession, subscription_id: int, expected: Places[int]) -> set[int]:
    """Return the client handles of the subscription's items; `expected` where the server cannot say.

    By the method GetMonitoredItems (OPC 10000-5, 9.1), which is optional.
    """
    (told,) = await session.call([subscription_id], _ask_for_items)
    return set(expected) if told is None else set(told)


async def _ask_for_items(client: UaClient, subscription_ids: list[int]) -> list[list[int] | None]:
    calls = [
        ua.CallMethodRequest(
            ObjectId=make_node_id(0, ObjectIds.Server),
            MethodId=make_node_id(0, ObjectIds.Server_GetMonitoredItems),
            InputArguments=[ua.Variant(one, ua.VariantType.UInt32)],
        )
        for one in subscription_ids
    ]
    try:
        answers = await client.call(calls)
    except UaStatusCodeError:  # a server without methods at all
        return [None] * len(subscription_ids)
    return [_take_handles(answer) for answer in answers]


def _take_handles(answer: ua.CallMethodResult) -> list[int] | None:
    outputs = answer.OutputArguments or []
    if not answer.StatusCode.is_good() or len(outputs) != 2:  # the server's handles, and ours
        return None
    return [int(handle) for handle in outputs[1].Value or []]
