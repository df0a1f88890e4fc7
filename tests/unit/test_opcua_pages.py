"""Servers that tell what is below a node page by page: nothing is left out, and nothing is without end."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import pytest
from asyncua import ua

from edge.drivers.opcua import nodes as opcua_nodes
from edge.drivers.opcua.client import OpcuaSession

_BAD_NO_CONTINUATION_POINTS = 0x804B0000


class PagingServer:
    """Tells of `page` references at a time, and keeps `points_max` continuation points."""

    def __init__(self, below: dict[str, int], page: int, points_max: int) -> None:
        self.below, self.page, self.points_max = below, page, points_max
        self.points: dict[bytes, list[ua.ReferenceDescription]] = {}

    async def call(
        self, items: Sequence[Any], service: Callable[[Any, list[Any]], Awaitable[list[Any]]]
    ) -> list[Any]:
        return await service(self, list(items))

    async def browse(self, wish: ua.BrowseParameters) -> list[ua.BrowseResult]:
        names = [str(one.NodeId.Identifier) for one in wish.NodesToBrowse]
        return [self._cut(name, [refer(f"{name}.{at}") for at in range(self.below[name])]) for name in names]

    async def browse_next(self, wish: ua.BrowseNextParameters) -> list[ua.BrowseResult]:
        kept = [(bytes(point), self.points.pop(bytes(point))) for point in wish.ContinuationPoints]
        return [] if wish.ReleaseContinuationPoints else [self._cut(str(point), rest) for point, rest in kept]

    def _cut(self, name: str, references: list[ua.ReferenceDescription]) -> ua.BrowseResult:
        if len(references) <= self.page:
            return ua.BrowseResult(References=references)
        if len(self.points) >= self.points_max:
            return ua.BrowseResult(StatusCode=ua.StatusCode(ua.UInt32(_BAD_NO_CONTINUATION_POINTS)))
        point = f"{name}+".encode()
        self.points[point] = references[self.page :]
        return ua.BrowseResult(ContinuationPoint=point, References=references[: self.page])


def refer(name: str) -> ua.ReferenceDescription:
    node = ua.ExpandedNodeId(ua.String(name), ua.Int16(2))
    return ua.ReferenceDescription(
        NodeId=node, BrowseName=ua.QualifiedName(name), NodeClass=ua.NodeClass.Variable
    )


@pytest.mark.parametrize("points_max", [1, 2, 100])
async def test_all_pages_are_read(points_max: int) -> None:
    """Also where the server has fewer continuation points than nodes were asked about."""
    server = PagingServer({"a": 10, "b": 0, "c": 7, "d": 4}, 3, points_max)
    below = await opcua_nodes.browse(cast(OpcuaSession, server), [(2, name) for name in "abcd"])
    assert [[one.name for one in part] for part in below] == [
        [f"{name}.{at}" for at in range(count)] for name, count in server.below.items()
    ]
    assert not server.points


async def test_a_server_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the rest is not fetched, and the server is told that it may forget it."""
    monkeypatch.setattr(opcua_nodes, "REFERENCES_MAX", 20)
    server = PagingServer({"a": 10_000}, 3, 100)
    (below,) = await opcua_nodes.browse(cast(OpcuaSession, server), [(2, "a")])
    assert 20 < len(below) < 30
    assert not server.points
