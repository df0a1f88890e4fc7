"""Asks a server what it remembers of tags: HistoryRead, raw, in pages, bounded (OPC 10000-4, 5.11.3)."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from time import time_ns

import msgspec
import structlog
from asyncua import ua
from asyncua.client.ua_client import UaClient

from edge.drivers import HistoryRefused
from edge.drivers.columns import Rows
from edge.drivers.gathering import Gatherer
from edge.drivers.opcua.client import OpcuaSession
from edge.drivers.opcua.reading import add_answer
from models.telemetry import Frame, quality

VALUES_PER_PAGE = 500
NODES_PER_PAGE = 10
"""A page of 5,000 values is decoded in some 50 ms: longer would keep other machines waiting."""

VALUES_MAX = 200_000
"""More of one call stays with the machine: filling must not fill the memory."""

PAGES_MAX = 400

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REFUSALS = frozenset(
    {
        quality.BAD_HISTORY_OPERATION_INVALID,
        quality.BAD_HISTORY_OPERATION_UNSUPPORTED,
        quality.BAD_NOT_READABLE,
        quality.BAD_USER_ACCESS_DENIED,
        quality.BAD_NOT_SUPPORTED,
        quality.BAD_NOT_IMPLEMENTED,
        quality.BAD_NODE_ID_UNKNOWN,
        quality.BAD_NODE_ID_INVALID,
    }
)
_TOO_LONG = "the machine remembers more of this time than is asked for at once"

log = structlog.get_logger()


class _Page(msgspec.Struct):
    """What is asked of one node, and what came of it: a bad code, or rows and where they go on."""

    place: int
    point: bytes | None
    code: int = 0
    rows: Rows = msgspec.field(default_factory=Rows)

    @property
    def is_cut(self) -> bool:
        """Return whether there may be more although the server does not say so."""
        return not self.point and len(self.rows.places) >= VALUES_PER_PAGE


class History:
    """The history of one machine's tags; remembers which of them have none."""

    def __init__(self, tags: Sequence[str], waveforms: Iterable[int] = ()) -> None:
        self._tags = tags
        # Their features are made of what is read live: a history of them would be thousands of numbers a row.
        self._without: dict[int, int] = dict.fromkeys(waveforms, quality.BAD_NOT_SUPPORTED)

    async def read(self, session: OpcuaSession, first_ns: int, last_ns: int) -> list[Frame]:
        """Return what lies between the two instants, both exclusive; raise `HistoryRefused`."""
        wanted = [place for place in session.chosen if place not in self._without]
        found: list[Rows] = []
        for at in range(0, len(wanted), NODES_PER_PAGE):
            found += await self._read_pages(session, first_ns, last_ns, wanted[at : at + NODES_PER_PAGE])
            if _count(found) > VALUES_MAX:
                log.warning(
                    "history_cut", values_max=VALUES_MAX, tags_left=len(wanted) - at, reason=_TOO_LONG
                )
                break
        if self._without.keys() >= session.chosen.keys():
            codes = sorted({quality.describe(code) for code in self._without.values()})
            raise HistoryRefused(
                f"the server gives out no history of these tags ({', '.join(codes) or 'no node is there'}): "
                "let it record them, and allow this user to read it"
            )
        return Gatherer(self._tags).gather([_cut(one, first_ns, last_ns) for one in found])

    async def _read_pages(
        self, session: OpcuaSession, first_ns: int, last_ns: int, places: Sequence[int]
    ) -> list[Rows]:
        """Return what the nodes of some tags have, page after page until there is no more or it is enough."""
        found: list[Rows] = []
        left = [(first_ns, list(places))]
        while left:
            since_ns, wanted = left.pop()
            answers = await self._read_span(session, since_ns, last_ns, wanted, _count(found))
            found += [answer.rows for answer in answers]
            if _count(found) > VALUES_MAX:
                break
            for answer in answers:
                # Some servers give as many as were asked for, and no point from which to go on.
                if answer.is_cut and max(answer.rows.timestamps) > since_ns:
                    left.append((max(answer.rows.timestamps), [answer.place]))
        return found

    async def _read_span(
        self, session: OpcuaSession, first_ns: int, last_ns: int, places: Sequence[int], count: int
    ) -> list[_Page]:
        """Return all pages that the server keeps a point for, while there are not more than enough values."""
        found: list[_Page] = []
        pages = [_Page(place, None) for place in places]
        ask = partial(_ask_for_pages, session, _describe_span(first_ns, last_ns))
        for number in range(PAGES_MAX):
            releases = number == PAGES_MAX - 1 or (number > 0 and count > VALUES_MAX)
            answers = await session.try_call(pages, partial(ask, releases=releases))
            if isinstance(answers, str):  # it may be too busy today: the next connection asks again
                raise HistoryRefused(answers)
            for answer in answers:
                if answer.code in _REFUSALS:
                    self._without[answer.place] = answer.code
            found += answers
            count += _count(answer.rows for answer in answers)
            pages = [answer for answer in answers if answer.point]
            if not pages:
                break
        return found


async def _ask_for_pages(
    session: OpcuaSession,
    span: ua.ReadRawModifiedDetails,
    client: UaClient,
    wishes: list[_Page],
    *,
    releases: bool,
) -> list[_Page]:
    """Return the next page of each; with `releases` none: the server may forget where they were."""
    nodes = [
        ua.HistoryReadValueId(NodeId=session.chosen[wish.place], ContinuationPoint=wish.point)
        for wish in wishes
    ]
    results = await client.history_read(
        ua.HistoryReadParameters(
            HistoryReadDetails=span,
            TimestampsToReturn=ua.TimestampsToReturn.Both,
            ReleaseContinuationPoints=releases,
            NodesToRead=nodes,
        )
    )
    if releases:
        return [_Page(wish.place, None) for wish in wishes]
    return [_take_page(wish.place, result) for wish, result in zip(wishes, results, strict=True)]


def _take_page(place: int, result: ua.HistoryReadResult) -> _Page:
    if not result.StatusCode.is_good():
        return _Page(place, None, int(result.StatusCode.value))
    page = _Page(place, result.ContinuationPoint or None)
    now_ns = time_ns()
    for answer in getattr(result.HistoryData, "DataValues", None) or []:
        add_answer(page.rows, place, answer, now_ns)
    return page


def _describe_span(first_ns: int, last_ns: int) -> ua.ReadRawModifiedDetails:
    return ua.ReadRawModifiedDetails(
        IsReadModified=False,
        StartTime=_EPOCH + timedelta(microseconds=first_ns // 1_000),
        EndTime=_EPOCH + timedelta(microseconds=-(-last_ns // 1_000)),
        NumValuesPerNode=VALUES_PER_PAGE,
        ReturnBounds=False,
    )


def _count(found: Iterable[Rows]) -> int:
    return sum(len(rows.places) for rows in found)


def _cut(rows: Rows, first_ns: int, last_ns: int) -> Rows:
    """Return the rows strictly between the two instants."""
    cut = Rows()
    for row, (place, timestamp_ns) in enumerate(zip(rows.places, rows.timestamps, strict=True)):
        if first_ns < timestamp_ns < last_ns:
            cut.add(place, timestamp_ns, rows.values[row], rows.codes.get(row, 0))
    return cut
