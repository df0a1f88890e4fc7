"""A session with an OPC UA server, in our own types: connecting, and reading."""

import asyncio
import struct
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
)
from cryptography.x509 import Certificate

from edge.drivers import NotConnected
from edge.drivers.columns import Observation
from edge.drivers.library_logs import silence
from edge.drivers.opcua.node_ids import Identifier, Node
from edge.drivers.opcua.reading import read_values
from edge.drivers.opcua.security import identify
from edge.drivers.opcua.settings import OpcuaServerSettings
from edge.drivers.opcua.words import explain_failure
from models.settings import SettingsError

WATCHDOG_S = 5.0
"""How often an idle connection is probed; asyncua's 1 s declares a busy controller dead."""

SESSION_TIMEOUT_MS = 60_000
CLOSE_S_MAX = 3.0
NODES_PER_CALL_MAX = 1_000

# asyncua lets through whatever its decoding of a garbled answer runs into: to us that is a lost connection.
FAILURES = (OSError, TimeoutError, UaError, ValueError, LookupError, struct.error)
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
        self._reads: list[tuple[ua.ReadParameters, list[str]]] = []
        self.chosen: dict[str, ua.NodeId] = {}
        """The nodes that `choose` was told, by the names of their tags."""
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

    def choose(self, nodes: Mapping[str, Node]) -> None:
        """Say which node each tag is, for `read` and for a subscription."""
        self.chosen = {name: make_node_id(index, identifier) for name, (index, identifier) in nodes.items()}
        self._prepare_reads()

    async def read(self) -> list[Observation]:
        """Return an observation of each chosen node: one bulk Read, or as few as the limit allows."""
        async with self.failing_as_not_connected():
            while True:
                try:
                    return await self._read_prepared()
                except _TOO_MUCH as refusal:
                    self._ask_for_less(len(self.chosen), refusal)
                    self._prepare_reads()

    async def _read_prepared(self) -> list[Observation]:
        observations: list[Observation] = []
        for wish, names in self._reads:
            observations += await read_values(self._client.uaclient, wish, names)
        return observations

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
                if len(replies) != len(part):
                    raise UaError(f"{len(replies)} answers to {len(part)} questions")
                answers += replies
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

    def _prepare_reads(self) -> None:
        # Built once: making a thousand ReadValueIds anew costs a fifth of a read.
        names, size = list(self.chosen), self.nodes_per_call
        parts = [names[at : at + size] for at in range(0, len(names), size)]
        self._reads = [(_ask_for([self.chosen[name] for name in part]), part) for part in parts]


def make_node_id(index: int, identifier: Identifier) -> ua.NodeId:
    """Return a node id as asyncua wants it."""
    # asyncua annotates its own int and str types, and takes the plain ones.
    return ua.NodeId(identifier, index)  # type: ignore[arg-type]


def _ask_for(nodes: Sequence[ua.NodeId]) -> ua.ReadParameters:
    return ua.ReadParameters(
        TimestampsToReturn=ua.TimestampsToReturn.Both,
        NodesToRead=[ua.ReadValueId(NodeId=node, AttributeId=AttributeIds.Value) for node in nodes],
    )
