"""Makes rows of asyncua's answers: of their bytes, or of its objects where those are unusual."""

from collections.abc import Sequence
from time import time_ns
from typing import Any

from asyncua import ua
from asyncua.client.ua_client import UaClient
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary, variant_from_binary

from edge.drivers.columns import Rows, choose_time, convert_time, convert_value, has_overflowed
from edge.drivers.opcua.inside import (
    FAILURES,
    PreparedRead,
    ask_prepared,
    check_answer,
    is_short,
    sort_read,
    take_octets,
)
from edge.drivers.opcua.notifications import Message, decode_publish
from edge.drivers.opcua.values import Unusual, decode_read, list_kinds


def read_variant(octets: bytes, at: int) -> tuple[Any, int]:
    """Return the value of the variant at `at`, and where it ends; raise `Unusual`."""
    rest = Buffer(octets, at)
    try:
        value = variant_from_binary(rest).Value
    except FAILURES as error:
        raise Unusual from error
    return value, len(octets) - len(rest)


async def read_rows(client: UaClient, read: PreparedRead, timeout_s: float) -> Rows:
    """Return a row for each of the read's places; raise as asyncua does."""
    if not is_short():
        return make_rows(read.places, await client.read(read.wish), time_ns())
    answer = await ask_prepared(client, read, timeout_s)
    octets = take_octets(answer)
    try:
        rows = decode_read(octets, read.places, time_ns(), read_variant)
    except Unusual:
        check_answer(client, answer)
        response = struct_from_binary(ua.ReadResponse, answer)
        response.ResponseHeader.ServiceResult.check()
        return make_rows(read.places, response.Results, time_ns())
    if not read.is_sorted:
        sort_read(read, list_kinds(octets, len(read.places), read_variant))
    return rows


def make_rows(places: Sequence[int], answers: Sequence[ua.DataValue], received_ns: int) -> Rows:
    """Return the rows that asyncua's objects say."""
    rows = Rows()
    for place, answer in zip(places, answers, strict=True):
        add_answer(rows, place, answer, received_ns)
    return rows


def add_answer(rows: Rows, place: int, answer: ua.DataValue, received_ns: int) -> None:
    """Add what a server answered of one tag."""
    variant = answer.Value
    is_float32 = variant is not None and variant.VariantType is ua.VariantType.Float
    sent = 0 if answer.StatusCode is None else int(answer.StatusCode.value)
    value, code = convert_value(None if variant is None else variant.Value, sent, is_float32=is_float32)
    rows.keep_array(len(rows.places), None if variant is None else variant.Value, sent)
    if has_overflowed(sent):
        rows.overflowed.append(len(rows.places))
    source_ns, server_ns = convert_time(answer.SourceTimestamp), convert_time(answer.ServerTimestamp)
    rows.add(place, choose_time(source_ns, server_ns, received_ns), value, code)


def read_message(client: UaClient, answer: Buffer) -> Message:
    """Return the message in an answer to a publish request; raise as asyncua does."""
    try:
        return decode_publish(take_octets(answer), time_ns(), read_variant)
    except Unusual:
        check_answer(client, answer)
        response = struct_from_binary(ua.PublishResponse, answer)
        response.ResponseHeader.ServiceResult.check()
        result = response.Parameters
        return convert_message(int(result.SubscriptionId), result.NotificationMessage, time_ns())


def convert_message(subscription_id: int, told: ua.NotificationMessage, received_ns: int) -> Message:
    """Return what asyncua's object of a subscription's message says."""
    message = Message(subscription_id, int(told.SequenceNumber))
    for notification in told.NotificationData or []:
        message.rows = message.rows or Rows()
        if isinstance(notification, ua.StatusChangeNotification):
            message.end = str(notification.Status.name)
        elif isinstance(notification, ua.DataChangeNotification):
            for item in notification.MonitoredItems:
                add_answer(message.rows, int(item.ClientHandle), item.Value, received_ns)
    return message
