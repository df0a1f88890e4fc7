"""The walk over a server's objects: bounds, properties, circles, machines by their folder."""

from collections.abc import Sequence

from edge.drivers.opcua.browsing import MACHINERY_URI, OBJECTS, Reference, walk
from edge.drivers.opcua.node_ids import Node
from edge.drivers.opcua.survey import name_tag

NAMESPACES = ["http://opcfoundation.org/UA/", MACHINERY_URI, "urn:plant"]
MACHINES: Node = (1, 1001)


class Tree:
    """A server's address space: what stands below each node."""

    def __init__(self, below: dict[Node, list[Reference]]) -> None:
        self.below = below
        self.asked: list[Node] = []

    async def browse(self, nodes: Sequence[Node]) -> list[list[Reference]]:
        self.asked += nodes
        return [self.below.get(node, []) for node in nodes]


def thing(name: str, *, index: int = 2) -> Reference:
    return Reference((index, name), name, is_variable=False)


def variable(name: str) -> Reference:
    return Reference((2, name), name, is_variable=True)


async def test_a_walk_finds_variables_with_their_units_and_leaves_out_what_describes() -> None:
    """Unit and range are remembered by the variable; other properties and namespace 0 are no tags."""
    properties = [Reference((2, name), name, True, True) for name in ("EngineeringUnits", "EURange", "Maker")]
    tree = Tree({OBJECTS: [thing("pump"), thing("Server", index=0)], (2, "pump"): [variable("flow")]})
    tree.below[2, "flow"] = properties
    found = await walk(tree.browse, NAMESPACES, levels_max=2)
    assert [place.path for place in found.variables] == [("pump", "flow")]
    assert found.units == {(2, "flow"): (2, "EngineeringUnits")}
    assert found.ranges == {(2, "flow"): (2, "EURange")}
    assert found.is_complete
    assert (0, "Server") not in tree.asked


async def test_a_circle_ends() -> None:
    """A node that is its own grandchild is looked at once."""
    tree = Tree({OBJECTS: [thing("a")], (2, "a"): [thing("b")], (2, "b"): [thing("a"), variable("v")]})
    assert [place.path for place in (await walk(tree.browse, NAMESPACES)).variables] == [("a", "b", "v")]
    assert len(tree.asked) == len(set(tree.asked))


async def test_a_bound_ends_the_walk_and_says_so() -> None:
    """Fewer levels or nodes than the server has: what was found is shown, and that there is more."""
    tree = Tree({OBJECTS: [thing("a")], (2, "a"): [variable(f"v{at}") for at in range(10)]})
    shallow = await walk(tree.browse, NAMESPACES, levels_max=1)
    assert (shallow.variables, shallow.is_complete) == ([], False)
    small = await walk(tree.browse, NAMESPACES, nodes_max=5)
    assert (len(small.variables), small.is_complete) == (4, False)
    whole = await walk(tree.browse, NAMESPACES, levels_max=2, nodes_max=11)
    assert (len(whole.variables), whole.is_complete) == (10, True)


async def test_what_stands_below_the_machines_folder_belongs_to_its_machine() -> None:
    """A machine that is also listed elsewhere is named by the companion specification's folder."""
    tree = Tree(
        {
            OBJECTS: [thing("DeviceSet"), Reference(MACHINES, "Machines", False), variable("loose")],
            (2, "DeviceSet"): [thing("M-100"), thing("clock")],
            MACHINES: [thing("M-100")],
            (2, "M-100"): [thing("Monitoring")],
            (2, "Monitoring"): [variable("Temperature")],
            (2, "clock"): [variable("drift")],
        }
    )
    found = await walk(tree.browse, NAMESPACES)
    assert found.knows_machines
    assert {name_tag(place) for place in found.variables} == {
        ("", "loose"),
        ("M-100", "Monitoring.Temperature"),
        ("DeviceSet", "clock.drift"),
    }


async def test_a_walk_tells_how_far_it_is() -> None:
    """The last word is the whole: nodes and variables."""
    tree = Tree({OBJECTS: [thing("a")], (2, "a"): [variable("v")]})
    told: list[tuple[int, int]] = []
    await walk(tree.browse, NAMESPACES, tell=lambda *counts: told.append(counts))
    assert told[0] == (1, 0)
    assert told[-1] == (2, 1)
