"""A session with an OPC UA server, in our own types: connecting, and reading."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from asyncua import ua
from asyncua.client.client import Client
from asyncua.client.ua_client import UaClient, UaClientState
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.uaerrors import (
    BadEncodingLimitsExceeded,
    BadRequestTooLarge,
    BadResponseTooLarge,
    BadTooManyOperations,
    UaError,
    UaStatusCodeError,
)
from cryptography.x509 import Certificate

from edge.drivers import NotConnected
from edge.drivers.columns import Rows, join_rows
from edge.drivers.library_logs import silence
from edge.drivers.opcua.inside import FAILURES, PreparedRead, prepare_read, take_short_way
from edge.drivers.opcua.node_ids import Identifier, Node
from edge.drivers.opcua.publishing import Publishing
from edge.drivers.opcua.reading import read_rows
from edge.drivers.opcua.security import identify
from edge.drivers.opcua.settings import OpcuaServerSettings
from edge.drivers.opcua.words import explain_failure
from models.settings import SettingsError

WATCHDOG_S = 5.0
"""How often an idle connection is probed; asyncua's 1 s declares a busy controller dead."""

SESSION_TIMEOUT_MS = 60_000
CLOSE_S_MAX = 3.0
NODES_PER_CALL_MAX = 1_000

_LIMITS = (
    ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
    ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
    ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse,
    ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerTranslateBrowsePathsToNodeIds,
)

# Half as many at once may still pass.
_TOO_MUCH = (BadTooManyOperations, BadRequestTooLarge, BadResponseTooLarge, BadEncodingLimitsExceeded)

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class OpcuaSession:
    """One session: opened once, of no more use after a failure, which is `NotConnected`. Nothing writes."""

    def __init__(self, settings: OpcuaServerSettings, nodes_per_call: int = NODES_PER_CALL_MAX) -> None:
        self._settings = settings
        self._client = Client(settings.url, timeout=settings.timeout_s, watchdog_intervall=WATCHDOG_S)
        take_short_way(self._client)
        self._reads: dict[int, list[PreparedRead]] = {}
        self._groups: list[list[int]] = []
        self.publishing = Publishing(self._client.uaclient, self._tell_end)
        self.tell_end: Callable[[str], None] = lambda _reason: None
        """Is told why no more messages of subscriptions will come."""
        self.chosen: dict[int, ua.NodeId] = {}
        """The nodes that `choose` was told, by the places of their tags."""
        self.nodes_per_call = nodes_per_call
        """As many as the server takes in one call: by its own word, or less once it has refused."""
        self.namespaces: list[str] = []
        """The URIs of the server's namespaces, in the order of their indexes."""
        self.certificates: dict[str, Certificate] = {}
        """Those that take part in this session, by whose they are."""

    async def open(self) -> None:
        """Connect, log in, and learn the server's namespaces and limits."""
        client = self._client
        client.name = client.description = "Forewarn"
        client.session_timeout = SESSION_TIMEOUT_MS
        silence("asyncua")
        async with self.failing_as_not_connected():
            self.certificates = await identify(client, self._settings)
            await client.connect()
            self.namespaces = list(await client.get_namespace_array())
            await self._adopt_limits()

    def check_open(self) -> None:
        """Raise `NotConnected` when the connection is gone."""
        if self._client.state is not UaClientState.CONNECTED:
            raise NotConnected(f"the OPC UA server at {self._settings.url} has closed the connection")

    def choose(self, nodes: Mapping[int, Node], groups: Sequence[Sequence[int]]) -> None:
        """Say which node the tag at each place is, and which are read together."""
        self.chosen = {place: make_node_id(index, identifier) for place, (index, identifier) in nodes.items()}
        self._groups = [[place for place in group if place in nodes] for group in groups]
        self._reads = {}

    def add_group(self, places: Sequence[int]) -> int:
        """Have more tags read together; return their group's number."""
        self._groups.append(list(places))
        return len(self._groups) - 1

    async def read(self, group: int) -> Rows:
        """Return a row for each chosen node of a group: one bulk Read, or as few as the limit allows."""
        async with self.failing_as_not_connected():
            while True:
                try:
                    return await self._read_prepared(group)
                except _TOO_MUCH as refusal:
                    self._ask_for_less(len(self._groups[group]), refusal)
                    self._reads = {}

    async def _read_prepared(self, group: int) -> Rows:
        reads = self._reads.get(group)
        if reads is None:
            reads = self._reads[group] = self._prepare_reads(self._groups[group])
        parts = [await read_rows(self._client.uaclient, one, self._settings.timeout_s) for one in reads]
        return parts[0] if len(parts) == 1 else join_rows(parts)

    async def call(
        self, items: Sequence[Item], service: Callable[[UaClient, list[Item]], Awaitable[list[Answer]]]
    ) -> list[Answer]:
        """Return the service's answer to each item, asked for in as few calls as the server allows."""
        answers: list[Answer] = []
        async with self.failing_as_not_connected():
            while len(answers) < len(items):
                part = list(items[len(answers) : len(answers) + self.nodes_per_call])
                try:
                    replies = await service(self._client.uaclient, part)
                except _TOO_MUCH as refusal:
                    self._ask_for_less(len(part), refusal)
                    continue
                answers += _check_count(part, replies)
        return answers

    async def try_call(
        self, items: Sequence[Item], service: Callable[[UaClient, list[Item]], Awaitable[list[Answer]]]
    ) -> list[Answer] | str:
        """Return the answers of an optional service, or why there are none; the session stays as it is.

        What such a service refuses as too much is no measure for others: it is halved for this call alone.
        """
        answers: list[Answer] = []
        size = max(1, min(len(items), self.nodes_per_call))
        try:
            while len(answers) < len(items):
                part = list(items[len(answers) : len(answers) + size])
                try:
                    answers += _check_count(part, await service(self._client.uaclient, part))
                except _TOO_MUCH:
                    if size == 1:
                        raise
                    size //= 2
        except (TimeoutError, UaStatusCodeError) as refusal:
            self.check_open()
            return explain_failure(self._settings.url, refusal)
        except FAILURES as error:
            await self.close()
            raise NotConnected(explain_failure(self._settings.url, error)) from error
        return answers

    async def close(self) -> None:
        """End the session; a server that does not answer is left behind."""
        try:
            with suppress(*FAILURES):
                async with asyncio.timeout(CLOSE_S_MAX):
                    await self._client.disconnect()
        finally:
            self._client.disconnect_socket()

    @asynccontextmanager
    async def failing_as_not_connected(self) -> AsyncIterator[None]:
        """Whatever a service fails with ends the session, and is `NotConnected` with the reason."""
        try:
            yield
        except SettingsError as error:  # a password's file
            await self.close()
            raise NotConnected(str(error)) from error
        except FAILURES as error:
            await self.close()
            raise NotConnected(explain_failure(self._settings.url, error)) from error

    async def _adopt_limits(self) -> None:
        """Ask for no more nodes in one call than the server says it takes."""
        for answer in await self._client.uaclient.read(_ask_for([make_node_id(0, node) for node in _LIMITS])):
            limit = answer.Value.Value if answer.Value is not None else None
            if isinstance(limit, int) and limit > 0:
                self.nodes_per_call = min(self.nodes_per_call, limit)

    def _ask_for_less(self, asked: int, refusal: UaError) -> None:
        """Halve the calls after the server refused one of so many nodes; give up at a single one."""
        asked = min(asked, self.nodes_per_call)
        if asked <= 1:
            raise refusal
        self.nodes_per_call = asked // 2

    def _prepare_reads(self, places: Sequence[int]) -> list[PreparedRead]:
        size = self.nodes_per_call
        parts = [list(places[at : at + size]) for at in range(0, len(places), size)]
        return [prepare_read(part, _ask_for([self.chosen[place] for place in part])) for part in parts]

    def _tell_end(self, error: Exception) -> None:
        self.tell_end(explain_failure(self._settings.url, error))


def make_node_id(index: int, identifier: Identifier) -> ua.NodeId:
    """Return a node id as asyncua wants it."""
    # asyncua annotates its own int and str types, and takes the plain ones.
    return ua.NodeId(identifier, index)  # type: ignore[arg-type]


def _ask_for(nodes: Sequence[ua.NodeId]) -> ua.ReadParameters:
    return ua.ReadParameters(
        TimestampsToReturn=ua.TimestampsToReturn.Both,
        NodesToRead=[ua.ReadValueId(NodeId=node, AttributeId=AttributeIds.Value) for node in nodes],
    )


def _check_count(part: Sequence[Item], replies: list[Answer]) -> list[Answer]:
    if len(replies) != len(part):
        raise UaError(f"{len(replies)} answers to {len(part)} questions")
    return replies
