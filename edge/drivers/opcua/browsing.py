"""Walks an OPC UA server's objects level by level, within bounds, and finds its variables."""

from collections.abc import Awaitable, Callable, Iterator, Sequence

import msgspec

from edge.drivers.opcua.node_ids import Node

NODES_MAX = 5_000
LEVELS_MAX = 8
NODES_PER_STEP = 500
OBJECTS: Node = (0, 85)
"""The folder in which every server keeps its objects (OPC 10000-5, 8.2.4)."""

MACHINERY_URI = "http://opcfoundation.org/UA/Machinery/"
_MACHINES_FOLDER = 1001
"""Where a server of the companion specification lists its machines (OPC 40001-1, 7.1)."""


class Reference(msgspec.Struct, frozen=True):
    """What one node says of a node below it."""

    node: Node
    name: str
    is_variable: bool
    is_property: bool = False


class Place(msgspec.Struct, frozen=True):
    """A node on the way: the names that lead to it, and how many of them name its machine."""

    node: Node
    path: tuple[str, ...]
    machine_depth: int
    is_variable: bool = False


class Walk(msgspec.Struct):
    """What was found; `is_complete` is False where a bound ended the walk before the server did."""

    variables: list[Place] = []
    units: dict[Node, Node] = {}
    ranges: dict[Node, Node] = {}
    knows_machines: bool = False
    is_complete: bool = True


Browse = Callable[[Sequence[Node]], Awaitable[list[list[Reference]]]]
"""Returns what is below each of some nodes."""

Tell = Callable[[int, int], None]
"""Is told how many nodes have been looked at, and how many variables are among them."""


async def walk(
    browse: Browse,
    namespaces: Sequence[str],
    *,
    levels_max: int = LEVELS_MAX,
    nodes_max: int = NODES_MAX,
    tell: Tell = lambda _nodes, _variables: None,
) -> Walk:
    """Return the server's variables down to `levels_max` levels, with where their unit and range stand.

    Namespace 0 is left out: the server's description of itself is large, and no machine's. So are properties
    other than unit and range: they describe, and are not measured.
    """
    machines = (namespaces.index(MACHINERY_URI), _MACHINES_FOLDER) if MACHINERY_URI in namespaces else None
    found = Walk()
    seen: set[Node] = set()
    level = [Place(OBJECTS, (), 1)]
    for depth in range(levels_max + 1):  # a level more, for the units of the last one's variables
        # What stands below the Machines folder and elsewhere too belongs to its machine: that comes first.
        level.sort(key=lambda place: place.node != machines and place.machine_depth == 1)
        below: list[Place] = []
        for at in range(0, len(level), NODES_PER_STEP):
            for parent, reference in await _look_below(browse, level[at : at + NODES_PER_STEP]):
                if reference.is_property:
                    _keep_property(found, parent, reference)
                elif reference.node[0] == 0 or reference.node in seen:
                    continue
                elif depth == levels_max or len(seen) == nodes_max:
                    found.is_complete = False
                else:
                    seen.add(reference.node)
                    below.append(_enter(parent, reference, machines))
            tell(len(seen), len(found.variables) + sum(place.is_variable for place in below))
        found.variables += [place for place in below if place.is_variable]
        found.knows_machines |= any(place.node == machines for place in below)
        level = below
    return found


async def _look_below(browse: Browse, places: Sequence[Place]) -> Iterator[tuple[Place, Reference]]:
    answers = await browse([place.node for place in places])
    return ((place, reference) for place, below in zip(places, answers, strict=True) for reference in below)


def _keep_property(found: Walk, parent: Place, reference: Reference) -> None:
    if reference.name == "EngineeringUnits":
        found.units[parent.node] = reference.node
    elif reference.name == "EURange":
        found.ranges[parent.node] = reference.node


def _enter(parent: Place, reference: Reference, machines: Node | None) -> Place:
    is_below_machines = parent.node == machines or parent.machine_depth == 2
    return Place(
        reference.node,
        (*parent.path, reference.name),
        2 if is_below_machines else 1,
        reference.is_variable,
    )
