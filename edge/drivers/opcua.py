"""A session with an OPC UA server, in our own types; the only file of production that knows asyncua."""

import asyncio
import struct
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from math import ceil
from time import time_ns
from typing import TypeVar

from asyncua import ua
from asyncua.client.client import Client
from asyncua.client.ua_client import UaClientState
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.uaerrors import UaError

from edge.drivers import NotConnected
from edge.drivers.certificates import read_application_uri
from edge.drivers.columns import Observation, convert_time, convert_value, has_overflowed
from edge.drivers.library_logs import silence
from edge.drivers.news import News
from edge.drivers.node_ids import Identifier, Node
from edge.drivers.opcua_settings import OpcuaMachineSettings, OpcuaSecuritySettings
from edge.drivers.opcua_words import explain_failure
from models.settings import SettingsError

WATCHDOG_S = 5.0
"""How often an idle connection is probed; asyncua's 1 s declares a busy controller dead."""

SESSION_TIMEOUT_MS = 60_000
KEEP_ALIVE_S = 5.0
CLOSE_S_MAX = 3.0
NODES_PER_CALL_MAX = 1_000

# asyncua lets through whatever its decoding of a garbled answer runs into: to us that is a lost connection.
_FAILURES = (OSError, TimeoutError, UaError, ValueError, LookupError, struct.error)
_LIMITS = (
    ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
    ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
)

# BadMonitoredItemFilterUnsupported, BadFilterNotAllowed, BadMonitoredItemFilterInvalid
_FILTER_REFUSALS = (0x80440000, 0x80450000, 0x80430000)

Item = TypeVar("Item")


class OpcuaSession:
    """One session: opened once, of no more use after a failure, which is `NotConnected`. Nothing writes."""

    def __init__(self, settings: OpcuaMachineSettings) -> None:
        self._settings = settings
        self._client = Client(settings.url, timeout=settings.timeout_s, watchdog_intervall=WATCHDOG_S)
        self._nodes: dict[str, ua.NodeId] = {}
        self._reads: list[ua.ReadParameters] = []
        self._watched: list[str] = []
        self._subscription_id = 0
        self._tells_updates = settings.report == "updates"
        self._nodes_per_call = NODES_PER_CALL_MAX
        self.namespaces: list[str] = []
        """The URIs of the server's namespaces, in the order of their indexes."""
        self.silence_s_max = 0.0
        """A live subscription is never silent for longer."""

    async def open(self) -> None:
        """Connect, log in, and learn the server's namespaces and limits."""
        client = self._client
        client.name = client.description = "Forewarn"
        client.session_timeout = SESSION_TIMEOUT_MS
        silence("asyncua")
        async with self._failing_as_not_connected():
            await self._identify()
            await client.connect()
            self.namespaces = list(await client.get_namespace_array())
            await self._adopt_limits()

    def check_open(self) -> None:
        """Raise `NotConnected` when the connection is gone."""
        if self._client.state is not UaClientState.CONNECTED:
            raise NotConnected(f"the OPC UA server at {self._settings.url} has closed the connection")

    def choose(self, nodes: Mapping[str, Node]) -> None:
        """Say which node each tag is, for `read` and `watch`."""
        self._nodes = {name: _make_node_id(index, identifier) for name, (index, identifier) in nodes.items()}
        # Built once: making a thousand ReadValueIds anew costs a fifth of a read.
        self._reads = [_ask_for(part) for part in _split(list(self._nodes.values()), self._nodes_per_call)]

    async def read(self) -> list[Observation]:
        """Return an observation of each chosen node: one bulk Read, or as few as the limit allows."""
        answers: list[ua.DataValue] = []
        async with self._failing_as_not_connected():
            for request in self._reads:
                answers += await self._client.uaclient.read(request)
        now_ns = time_ns()
        return [_observe(name, answer, now_ns) for name, answer in zip(self._nodes, answers, strict=True)]

    async def subscribe(self, news: News) -> None:
        """Create a subscription, still without nodes, that tells `news`."""
        keep_alives = max(1, ceil(KEEP_ALIVE_S / self._settings.interval_s))
        wish = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=1_000 * self._settings.interval_s,
            RequestedLifetimeCount=10 * keep_alives,
            RequestedMaxKeepAliveCount=keep_alives,
        )

        def take_publish(result: ua.PublishResult) -> None:
            try:
                self._take_publish(result.NotificationMessage, news)
            except _FAILURES as error:  # asyncua would only log it, and the values would be gone
                news.end(f"the server at {self._settings.url} tells what cannot be read: {error!r}")

        async with self._failing_as_not_connected():
            # Below asyncua's Subscription, which either drops silently or starts a task per value.
            granted = await self._client.uaclient.create_subscription(wish, take_publish)
        self._subscription_id = granted.SubscriptionId
        keep_alive_s = granted.RevisedPublishingInterval / 1_000 * granted.RevisedMaxKeepAliveCount
        self.silence_s_max = 2 * keep_alive_s + self._settings.timeout_s

    async def watch(self, names: Sequence[str]) -> dict[str, int]:
        """Add chosen nodes to the subscription; return the status codes of those that the server refuses."""
        refused = await self._add_items(names)
        unfiltered = [name for name, code in refused.items() if code in _FILTER_REFUSALS]
        if unfiltered:  # a small server that tells of changes only
            self._tells_updates = False
            refused = {name: refused[name] for name in refused.keys() - unfiltered}
            refused |= await self._add_items(unfiltered)
        return refused

    async def _add_items(self, names: Sequence[str]) -> dict[str, int]:
        refused: dict[str, int] = {}
        for part in _split(list(names), self._nodes_per_call):
            first = len(self._watched)
            self._watched += part
            wish = ua.CreateMonitoredItemsParameters(
                SubscriptionId=self._subscription_id,
                TimestampsToReturn=ua.TimestampsToReturn.Both,
                ItemsToCreate=[
                    self._make_item(first + at, self._nodes[name]) for at, name in enumerate(part)
                ],
            )
            async with self._failing_as_not_connected():
                results = await self._client.uaclient.create_monitored_items(wish)
            for name, result in zip(part, results, strict=True):
                if not result.StatusCode.is_good():
                    refused[name] = result.StatusCode.value
        return refused

    async def browse(self, nodes: Sequence[Node]) -> list[tuple[Node, bool]]:
        """Return the objects and variables below these nodes, with whether each is a variable."""
        below: list[tuple[Node, bool]] = []
        variable = ua.NodeClass.Variable
        for part in _split(list(nodes), self._nodes_per_call):
            wish = ua.BrowseParameters(NodesToBrowse=[_look_below(node) for node in part])
            async with self._failing_as_not_connected():
                results = await self._client.uaclient.browse(wish)
            below += [
                ((found.NodeId.NamespaceIndex, found.NodeId.Identifier), found.NodeClass == variable)
                for result in results
                for found in result.References or []
            ]
        return below

    async def close(self) -> None:
        """End the session; a server that does not answer is left behind."""
        try:
            with suppress(*_FAILURES):
                async with asyncio.timeout(CLOSE_S_MAX):
                    await self._client.disconnect()
        finally:
            self._client.disconnect_socket()

    @asynccontextmanager
    async def _failing_as_not_connected(self) -> AsyncIterator[None]:
        try:
            yield
        except SettingsError as error:  # a password's file
            await self.close()
            raise NotConnected(str(error)) from error
        except _FAILURES as error:
            await self.close()
            raise NotConnected(explain_failure(self._settings.url, error)) from error

    async def _identify(self) -> None:
        """Give the client what it needs to get in: certificates, user, password."""
        settings, client = self._settings, self._client
        if settings.security is not None:
            try:
                await _set_security(client, settings.security)
            except (ValueError, TypeError) as error:
                raise NotConnected(
                    f"the files below security are no certificates and key: {error}"
                ) from error
        if settings.user is not None:
            client.set_user(settings.user)
        if settings.password is not None:
            client.set_password(settings.password.read())

    async def _adopt_limits(self) -> None:
        """Ask for no more nodes in one call than the server says it takes."""
        wish = _ask_for([_make_node_id(0, node) for node in _LIMITS])
        for answer in await self._client.uaclient.read(wish):
            limit = answer.Value.Value if answer.Value is not None else None
            if isinstance(limit, int) and limit > 0:
                self._nodes_per_call = min(self._nodes_per_call, limit)

    def _make_item(self, client_handle: int, node: ua.NodeId) -> ua.MonitoredItemCreateRequest:
        # Without this filter a value that is measured again and found the same is not told.
        updates = ua.DataChangeFilter(Trigger=ua.DataChangeTrigger.StatusValueTimestamp)
        return ua.MonitoredItemCreateRequest(
            ItemToMonitor=ua.ReadValueId(NodeId=node, AttributeId=AttributeIds.Value),
            MonitoringMode=ua.MonitoringMode.Reporting,
            RequestedParameters=ua.MonitoringParameters(
                ClientHandle=client_handle,
                SamplingInterval=1_000 * self._settings.interval_s,
                QueueSize=self._settings.queue_max,
                DiscardOldest=True,
                Filter=updates if self._tells_updates else None,
            ),
        )

    def _take_publish(self, message: ua.NotificationMessage, news: News) -> None:
        """Called by asyncua's publish loop with each response; a keep-alive has no notifications."""
        notifications = message.NotificationData or []
        news.hear(message.SequenceNumber if notifications else None)
        now_ns = time_ns()
        for notification in notifications:
            if isinstance(notification, ua.StatusChangeNotification):
                news.end(
                    f"the server at {self._settings.url} ended the subscription: {notification.Status.name}"
                )
            elif isinstance(notification, ua.DataChangeNotification):
                items = notification.MonitoredItems
                overflows = sum(has_overflowed(_code_of(item.Value)) for item in items)
                if overflows:
                    news.count_loss("server_queue_full", overflows)
                news.put([_observe(self._watched[item.ClientHandle], item.Value, now_ns) for item in items])


def _make_node_id(index: int, identifier: Identifier) -> ua.NodeId:
    # asyncua annotates its own int and str types, and takes the plain ones.
    return ua.NodeId(identifier, index)  # type: ignore[arg-type]


def _code_of(answer: ua.DataValue) -> int:
    return 0 if answer.StatusCode is None else int(answer.StatusCode.value)


def _observe(name: str, answer: ua.DataValue, received_ns: int) -> Observation:
    variant = answer.Value
    is_float32 = variant is not None and variant.VariantType is ua.VariantType.Float
    raw = None if variant is None else variant.Value
    value, code = convert_value(raw, _code_of(answer), is_float32=is_float32)
    return name, convert_time(answer.SourceTimestamp, answer.ServerTimestamp) or received_ns, value, code


def _look_below(node: Node) -> ua.BrowseDescription:
    return ua.BrowseDescription(
        NodeId=_make_node_id(*node),
        BrowseDirection=ua.BrowseDirection.Forward,
        ReferenceTypeId=_make_node_id(0, ObjectIds.HierarchicalReferences),
        IncludeSubtypes=True,
        NodeClassMask=ua.NodeClass.Object | ua.NodeClass.Variable,
        ResultMask=ua.BrowseResultMask.All,
    )


def _ask_for(nodes: Sequence[ua.NodeId]) -> ua.ReadParameters:
    return ua.ReadParameters(
        TimestampsToReturn=ua.TimestampsToReturn.Both,
        NodesToRead=[ua.ReadValueId(NodeId=node, AttributeId=AttributeIds.Value) for node in nodes],
    )


def _split(items: list[Item], size: int) -> Iterator[list[Item]]:
    return (items[at : at + size] for at in range(0, len(items), size))


async def _set_security(client: Client, security: OpcuaSecuritySettings) -> None:
    client.application_uri = read_application_uri(security.certificate) or client.application_uri
    await client.set_security(
        SecurityPolicyBasic256Sha256,
        certificate=str(security.certificate),
        private_key=str(security.private_key),
        # With this one pinned, asyncua refuses any other that the server may show.
        server_certificate=str(security.server_certificate),
    )
