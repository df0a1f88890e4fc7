"""What is asked of a server's history: all of it, page by page, and never more than memory takes."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from asyncua import ua

from edge.drivers import HistoryRefused
from edge.drivers.opcua import history as module
from edge.drivers.opcua.client import OpcuaSession
from edge.drivers.opcua.history import VALUES_PER_PAGE, History
from edge.polling.gaps import count_frames

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
START_MS = 1_795_337_912_000
MS = 1_000_000


class Server:
    """A session with a server that remembers a value of one node for each millisecond."""

    def __init__(self, *, with_points: bool, reason: str = "") -> None:
        self.chosen = {0: ua.NodeId(1, 1)}
        self.reason = reason
        self.requests = 0
        self._with_points = with_points

    async def try_call(
        self, items: Sequence[Any], service: Callable[[Any, list[Any]], Awaitable[list[Any]]]
    ) -> list[Any] | str:
        """Pass the call on, or say why not."""
        return self.reason or await service(self, list(items))

    async def history_read(self, asked: ua.HistoryReadParameters) -> list[ua.HistoryReadResult]:
        """Return a page: with a point to go on from, or only as many values as were asked for."""
        self.requests += 1
        span = asked.HistoryReadDetails
        point = asked.NodesToRead[0].ContinuationPoint
        at = int(point) if point else -((EPOCH - span.StartTime) // timedelta(milliseconds=1))
        end = (span.EndTime - EPOCH) // timedelta(milliseconds=1)
        times = range(at, min(at + VALUES_PER_PAGE, end + 1))
        values = [
            ua.DataValue(
                ua.Variant(1.0), SourceTimestamp=EPOCH + timedelta(milliseconds=time), ServerTimestamp=None
            )
            for time in times
        ]
        more = str(times.stop).encode() if self._with_points and times.stop <= end else None
        return [
            ua.HistoryReadResult(
                StatusCode=ua.StatusCode(0), ContinuationPoint=more, HistoryData=ua.HistoryData(values)
            )
        ]


async def read(server: Server, milliseconds: int) -> list[int]:
    """Return the timestamps of a span, in milliseconds since its beginning."""
    session = cast(OpcuaSession, server)
    frames = await History(["flow"]).read(session, START_MS * MS, (START_MS + milliseconds) * MS)
    times = [time for frame in frames for time in frame.timestamps]
    assert len(times) == count_frames(frames)
    return [time // MS - START_MS for time in times]


@pytest.mark.parametrize("with_points", [True, False])
async def test_every_value_of_a_span_comes_once(with_points: bool) -> None:
    """Whether the server says from where to go on, or just stops at as many as were asked for."""
    assert await read(Server(with_points=with_points), 5_250) == list(range(1, 5_250))


@pytest.mark.parametrize("with_points", [True, False])
async def test_a_server_that_remembers_a_million_values_does_not_fill_the_memory(
    with_points: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page more than the bound or two; the rest stays with the machine, and no call lies in another."""
    monkeypatch.setattr(module, "VALUES_MAX", 20_000)
    server = Server(with_points=with_points)
    times = await read(server, 1_000_000)
    assert 20_000 < len(times) <= 20_000 + 2 * VALUES_PER_PAGE
    assert server.requests <= 45


async def test_a_server_that_is_too_busy_once_is_asked_again_later() -> None:
    """A refusal of the whole service, or of a time without nodes, is not for ever."""
    server, history = Server(with_points=True, reason="it answers nothing in time"), History(["flow"])
    session = cast(OpcuaSession, server)
    with pytest.raises(HistoryRefused, match="nothing in time"):
        await history.read(session, START_MS * MS, (START_MS + 9) * MS)
    server.reason, nodes, server.chosen = "", server.chosen, {}
    with pytest.raises(HistoryRefused, match="no node is there"):
        await history.read(session, START_MS * MS, (START_MS + 9) * MS)
    server.chosen = nodes
    assert count_frames(await history.read(session, START_MS * MS, (START_MS + 9) * MS)) == 8
