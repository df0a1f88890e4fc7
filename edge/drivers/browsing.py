"""Walks an OPC UA server's objects, within bounds."""

from collections.abc import Awaitable, Callable, Sequence

from edge.drivers.node_ids import Node, write_node_id

NODES_MAX = 5_000
LEVELS_MAX = 8
OBJECTS: Node = (0, 85)
"""The folder in which every server keeps its objects (OPC 10000-5, 8.2.4)."""

Browse = Callable[[Sequence[Node]], Awaitable[list[tuple[Node, bool]]]]
"""Returns what is below some nodes, with whether each is a variable."""


async def list_variables(browse: Browse, namespaces: Sequence[str]) -> list[str]:
    """Return the node ids of the server's variables, level by level, and only so far.

    Namespace 0 is left out: the server's description of itself is large, and no machine's.
    """
    found: list[str] = []
    seen: set[Node] = set()
    level = [OBJECTS]
    for _ in range(LEVELS_MAX):
        below: list[Node] = []
        for node, is_variable in await browse(level):
            if node[0] == 0 or node in seen:
                continue
            seen.add(node)
            below.append(node)
            if is_variable:
                found.append(write_node_id(*node, namespaces))
        if not below or len(seen) > NODES_MAX:
            break
        level = below
    return found
