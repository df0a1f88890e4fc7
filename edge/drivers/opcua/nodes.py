"""What an OPC UA server says of its nodes: what is below them, their types, values and units."""

from collections.abc import Sequence
from typing import Any

import msgspec
from asyncua import ua
from asyncua.client.ua_client import UaClient
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIdNames, ObjectIds

from edge.drivers.opcua.browse_paths import Name
from edge.drivers.opcua.browsing import OBJECTS, Reference
from edge.drivers.opcua.client import OpcuaSession, make_node_id
from edge.drivers.opcua.node_ids import Node, write_node_id

REFERENCES_MAX = 100_000
"""Of one browse over some hundred nodes: a server without end is cut off here."""

_BAD_NO_CONTINUATION_POINTS = 0x804B0000
_WHOLE_PATH = 2**32 - 1
_NUMBERS = frozenset(range(1, 12))
"""The ids of the built-in types Boolean to Double (OPC 10000-6, 5.1.2)."""


class Description(msgspec.Struct, frozen=True):
    """One variable: its type's name, whether that is a number a tag can hold, its value and status now."""

    type: str
    is_number: bool
    value: str
    status: int


class Unit(msgspec.Struct, frozen=True):
    """What a variable's properties say of it; None and empty where they say nothing."""

    text: str = ""
    low: float | None = None
    high: float | None = None


async def browse(session: OpcuaSession, nodes: Sequence[Node]) -> list[list[Reference]]:
    """Return the objects, variables and properties below each of the nodes."""
    results = await session.call(nodes, _browse)
    # A server keeps few continuation points at a time: who got none is asked again alone.
    refused = [at for at, one in enumerate(results) if one.StatusCode.value == _BAD_NO_CONTINUATION_POINTS]
    below = [[_refer(found) for found in one.References or []] for one in results]
    await _continue(session, {at: one.ContinuationPoint for at, one in enumerate(results)}, below)
    for at in refused:
        (alone,) = await session.call([nodes[at]], _browse)
        below[at] = [_refer(found) for found in alone.References or []]
        await _continue(session, {at: alone.ContinuationPoint}, below)
    return below


async def _continue(session: OpcuaSession, points: dict[int, Any], below: list[list[Reference]]) -> None:
    """Fetch what did not fit the first answers; `points` says for which of them there is more."""
    points = {at: point for at, point in points.items() if point}
    while points:
        is_enough = sum(map(len, below)) > REFERENCES_MAX
        answers = await session.call(list(points.values()), _release if is_enough else _browse_next)
        if is_enough:
            return
        for at, answer in zip(points, answers, strict=True):
            below[at] += [_refer(found) for found in answer.References or []]
        points = {
            at: answer.ContinuationPoint
            for at, answer in zip(points, answers, strict=True)
            if answer.ContinuationPoint
        }


async def follow_paths(session: OpcuaSession, paths: Sequence[Sequence[Name]]) -> list[list[Node]]:
    """Return the nodes to which each path of names leads from Objects on: mostly one, none where it ends."""
    results = await session.call(paths, _translate)
    return [
        [
            (int(target.TargetId.NamespaceIndex), target.TargetId.Identifier)
            for target in result.Targets or []
            if target.RemainingPathIndex == _WHOLE_PATH
        ]
        for result in results
    ]


async def describe(session: OpcuaSession, nodes: Sequence[Node]) -> list[Description]:
    """Return type, value and status of some variables."""
    values = await session.call(nodes, _read_values)
    types = await session.call(nodes, _read_types)
    return [_describe(value, of, session.namespaces) for value, of in zip(values, types, strict=True)]


async def read_units(
    session: OpcuaSession, units: Sequence[Node | None], ranges: Sequence[Node | None]
) -> list[Unit]:
    """Return the unit and range that stand in the properties of some variables; None has no such property."""
    texts = await _read_some(session, units)
    spans = await _read_some(session, ranges)
    return [_make_unit(text, span) for text, span in zip(texts, spans, strict=True)]


async def _read_some(session: OpcuaSession, nodes: Sequence[Node | None]) -> list[Any]:
    answers = iter(await session.call([node for node in nodes if node is not None], _read_values))
    return [None if node is None else _take_value(next(answers)) for node in nodes]


def _make_unit(unit: Any, span: Any) -> Unit:
    text = (
        (unit.DisplayName.Text or unit.Description.Text or "") if isinstance(unit, ua.EUInformation) else ""
    )
    if not isinstance(span, ua.Range):
        return Unit(text)
    return Unit(text, float(span.Low), float(span.High))


def _take_value(answer: ua.DataValue) -> Any:
    return None if answer.Value is None else answer.Value.Value


def _describe(answer: ua.DataValue, type_answer: ua.DataValue, namespaces: Sequence[str]) -> Description:
    status = 0 if answer.StatusCode is None else int(answer.StatusCode.value)
    value, declared, held = _take_value(answer), _take_value(type_answer), None
    if value is not None and answer.Value is not None:
        held = answer.Value.VariantType
    is_single = not isinstance(value, (list, tuple))
    is_number = is_single and (
        held.value in _NUMBERS
        if held is not None
        else isinstance(declared, ua.NodeId) and _is_number(declared)
    )
    name = _name_type(declared, namespaces) or (held.name if held is not None else "")
    text = "" if value is None else str(value) if is_single else f"{len(value)} values"
    return Description(name if is_single else f"{name}[]", is_number, text, status)


def _is_number(declared: Any) -> bool:
    return (
        isinstance(declared, ua.NodeId) and declared.NamespaceIndex == 0 and declared.Identifier in _NUMBERS
    )


def _name_type(declared: Any, namespaces: Sequence[str]) -> str:
    if not isinstance(declared, ua.NodeId) or declared.is_null():
        return ""
    if declared.NamespaceIndex == 0:
        names: dict[Any, str] = ObjectIdNames
        return names.get(declared.Identifier, str(declared.Identifier))
    return write_node_id(declared.NamespaceIndex, declared.Identifier, namespaces)


def _refer(found: ua.ReferenceDescription) -> Reference:
    return Reference(
        (int(found.NodeId.NamespaceIndex), found.NodeId.Identifier),
        str(found.BrowseName.Name or found.DisplayName.Text or ""),
        found.NodeClass == ua.NodeClass.Variable,
        found.ReferenceTypeId == make_node_id(0, ObjectIds.HasProperty),
    )


async def _browse(client: UaClient, nodes: list[Node]) -> list[ua.BrowseResult]:
    return await client.browse(ua.BrowseParameters(NodesToBrowse=[_look_below(node) for node in nodes]))


async def _translate(client: UaClient, paths: list[Sequence[Name]]) -> list[ua.BrowsePathResult]:
    return await client.translate_browsepaths_to_nodeids(
        [
            ua.BrowsePath(
                StartingNode=make_node_id(*OBJECTS),
                RelativePath=ua.RelativePath(Elements=[_make_element(*name) for name in path]),
            )
            for path in paths
        ]
    )


def _make_element(index: int, name: str) -> ua.RelativePathElement:
    return ua.RelativePathElement(
        ReferenceTypeId=make_node_id(0, ObjectIds.HierarchicalReferences),
        IsInverse=False,  # type: ignore[arg-type]  # asyncua annotates its own kind of bool
        TargetName=ua.QualifiedName(name, index),
    )


async def _browse_next(client: UaClient, points: list[Any]) -> list[ua.BrowseResult]:
    wish = ua.BrowseNextParameters(ReleaseContinuationPoints=False, ContinuationPoints=points)
    return await client.browse_next(wish)


async def _release(client: UaClient, points: list[Any]) -> list[Any]:
    await client.browse_next(
        ua.BrowseNextParameters(ReleaseContinuationPoints=True, ContinuationPoints=points)
    )
    return points


async def _read_values(client: UaClient, nodes: list[Node]) -> list[ua.DataValue]:
    return await client.read_attributes([make_node_id(*node) for node in nodes], AttributeIds.Value)


async def _read_types(client: UaClient, nodes: list[Node]) -> list[ua.DataValue]:
    return await client.read_attributes([make_node_id(*node) for node in nodes], AttributeIds.DataType)


def _look_below(node: Node) -> ua.BrowseDescription:
    return ua.BrowseDescription(
        NodeId=make_node_id(*node),
        BrowseDirection=ua.BrowseDirection.Forward,
        ReferenceTypeId=make_node_id(0, ObjectIds.HierarchicalReferences),
        IncludeSubtypes=True,
        NodeClassMask=ua.NodeClass.Object | ua.NodeClass.Variable,
        ResultMask=ua.BrowseResultMask.All,
    )
