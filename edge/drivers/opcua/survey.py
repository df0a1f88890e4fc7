"""Looks at all that an OPC UA server has to measure: names, types, values, units."""

from collections.abc import Sequence
from functools import partial

import msgspec

from edge.drivers.opcua.browsing import LEVELS_MAX, NODES_MAX, Place, Tell, walk
from edge.drivers.opcua.client import OpcuaSession
from edge.drivers.opcua.node_ids import write_node_id
from edge.drivers.opcua.nodes import browse, describe, read_units
from edge.drivers.opcua.settings import OpcuaServerSettings


class Found(msgspec.Struct, frozen=True):
    """One variable of a server.

    `machine` is the name of the machine or object that it stands below, empty at the top; `tag` the names
    from there on. `low` and `high` are the ends of its range of normal operation (EURange), where it has one.
    """

    machine: str
    tag: str
    node_id: str
    type: str
    is_number: bool
    value: str
    unit: str
    low: float | None
    high: float | None
    status: int


class Survey(msgspec.Struct, frozen=True):
    """What a server has; not `is_complete` where a bound ended the look before the server did."""

    found: list[Found]
    knows_machines: bool
    is_complete: bool


async def survey(
    server: OpcuaServerSettings,
    *,
    wanted: str = "",
    levels_max: int = LEVELS_MAX,
    nodes_max: int = NODES_MAX,
    tell: Tell = lambda _nodes, _variables: None,
) -> Survey:
    """Return the variables whose names or node ids contain `wanted`; raise `NotConnected`."""
    session = OpcuaSession(server)
    try:
        await session.open()
        seen = await walk(
            partial(browse, session),
            session.namespaces,
            levels_max=levels_max,
            nodes_max=nodes_max,
            tell=tell,
        )
        places = [place for place in seen.variables if _is_wanted(place, wanted, session.namespaces)]
        nodes = [place.node for place in places]
        descriptions = await describe(session, nodes)
        units = await read_units(session, list(map(seen.units.get, nodes)), list(map(seen.ranges.get, nodes)))
    finally:
        await session.close()
    found = [
        Found(
            *name_tag(place),
            write_node_id(*place.node, session.namespaces),
            description.type,
            description.is_number,
            description.value,
            unit.text,
            unit.low,
            unit.high,
            description.status,
        )
        for place, description, unit in zip(places, descriptions, units, strict=True)
    ]
    return Survey(found, seen.knows_machines, seen.is_complete)


def name_tag(place: Place) -> tuple[str, str]:
    """Return the names of the machine and of the tag that a variable is."""
    depth = place.machine_depth
    if len(place.path) <= depth:  # a variable where machines stand
        return "", place.path[-1]
    return place.path[depth - 1], ".".join(place.path[depth:])


def _is_wanted(place: Place, wanted: str, namespaces: Sequence[str]) -> bool:
    text = wanted.casefold()
    return (
        text in ".".join(place.path).casefold() or text in write_node_id(*place.node, namespaces).casefold()
    )
