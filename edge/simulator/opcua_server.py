"""An OPC UA server whose nodes are machines' tags; the only file of the simulator that knows asyncua."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

from asyncua import ua
from asyncua.server.internal_server import InternalServer
from asyncua.server.server import Server
from asyncua.server.standard_address_space import standard_address_space
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from edge.simulator.plant import NAMESPACE
from edge.simulator.ports import HOST, check_port

_EPOCH = ua.DateTime(1970, 1, 1, tzinfo=UTC)
_TYPES = {
    *("BaseObjectType", "FolderType", "BaseVariableType", "BaseDataVariableType", "PropertyType"),
    *("Server", "ServerType", "ServerStatusType", "BuildInfoType", "ServerCapabilitiesType"),
    *("OperationLimitsType", "ServerStatusDataType", "BuildInfo", "ServerState", "UtcTime", "Duration"),
}
_SERVER_NODES = (
    *("Server_ServerArray", "Server_NamespaceArray", "Server_ServerStatus", "Server_ServiceLevel"),
    *("Server_Auditing", "Server_ServerCapabilities"),
)
_LEFT_OUT = ("RoleSet", "HistoryServer", "ModellingRules", "Aggregate")
_FIRST_IDS = range(1, 100)


def _list_core_ids() -> frozenset[int]:
    """Return the standard nodes that a client needs to connect, browse, read and subscribe."""
    names = {number: name for name, number in vars(ObjectIds).items() if isinstance(number, int)}
    kept = {
        number
        for number, name in names.items()
        if name in _TYPES or (name.startswith(_SERVER_NODES) and not any(word in name for word in _LEFT_OUT))
    }
    return frozenset(kept | set(_FIRST_IDS))


class _CoreNodes:
    """Lets the core of the standard address space through to the node service.

    All 6,174 standard nodes cost 54 MB and a second of every start; these 150 cost next to nothing.
    """

    def __init__(self, service: Any) -> None:
        self._service = service
        self._core = _list_core_ids()

    def try_add_nodes(self, nodes: Iterable[Any], check: bool = False) -> Any:
        """Add the core nodes among `nodes`; return those that must wait for their parents."""
        return self._service.try_add_nodes(
            [node for node in nodes if node.RequestedNewNodeId.Identifier in self._core], check=check
        )

    def try_add_references(self, references: Iterable[Any]) -> Any:
        """Add the references between core nodes; return those that must wait."""
        core = self._core
        return self._service.try_add_references(
            [
                reference
                for reference in references
                if reference.SourceNodeId.Identifier in core and reference.TargetNodeId.Identifier in core
            ]
        )


class _SmallInternalServer(InternalServer):
    async def load_standard_address_space(self, shelf_file: Path | None = None) -> None:  # noqa: ARG002  # asyncua's signature
        fill: Any = standard_address_space.fill_address_space
        fill(_CoreNodes(self.node_mgt_service))


class OpcuaServer:
    """A server on this computer only, without security: a machine's tags are `s=<machine>.<tag>`.

    Before its first value a tag is `BadWaitingForInitialData`.
    """

    def __init__(self, port: int, port_option: str = "--opcua-port") -> None:
        self._port_option = port_option
        self._port = port
        self._namespace = 0
        self._nodes: dict[tuple[str, str], ua.NodeId] = {}
        self._waveforms: dict[str, ua.NodeId] = {}
        self._server = Server(iserver=_SmallInternalServer())

    async def start(self) -> None:
        """Listen; raise `PortTaken`."""
        check_port(self._port, self._port_option)
        server = self._server
        await server.init()
        server.set_endpoint(f"opc.tcp://{HOST}:{self._port}/forewarn/")
        server.set_server_name("Forewarn simulated plant")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        server.set_identity_tokens([ua.AnonymousIdentityToken])
        self._namespace = await server.register_namespace(NAMESPACE)
        await server.start()
        if server.bserver is not None:
            self._port = server.bserver.port

    @property
    def url(self) -> str:
        """Where clients connect; with port 0 known after `start`."""
        return f"opc.tcp://{HOST}:{self._port}/forewarn/"

    async def add_machine(self, machine: str, tags: Sequence[str], waiting_since_ns: int) -> None:
        """Add an object with one Double node per tag, which has no value: bad since `waiting_since_ns`."""
        waiting = _make_waiting(waiting_since_ns)
        place = ua.NodeId(ua.String(machine), ua.Int16(self._namespace))
        thing = await self._server.nodes.objects.add_object(
            place, ua.QualifiedName(machine, ua.UInt16(self._namespace))
        )
        for tag in tags:
            node_id = ua.NodeId(ua.String(f"{machine}.{tag}"), ua.Int16(self._namespace))
            name = ua.QualifiedName(tag, ua.UInt16(self._namespace))
            await thing.add_variable(node_id, name, 0.0, ua.VariantType.Double)
            await self._server.write_attribute_value(node_id, waiting)
            self._nodes[machine, tag] = node_id

    async def write(self, machine: str, values: Mapping[str, float | None], timestamp_ns: int) -> None:
        """Give the machine's tags values observed at `timestamp_ns`; None is `BadNoData`."""
        observed = _convert_time(timestamp_ns)
        for tag, value in values.items():
            await self._server.write_attribute_value(self._nodes[machine, tag], _stamp_value(value, observed))

    async def add_waveform(self, machine: str, name: str, waiting_since_ns: int) -> None:
        """Add a node of the machine that holds an array of Double."""
        place = ua.NodeId(ua.String(machine), ua.Int16(self._namespace))
        node_id = ua.NodeId(ua.String(f"{machine}.{name}"), ua.Int16(self._namespace))
        thing = self._server.get_node(place)
        shown = ua.QualifiedName(name, ua.UInt16(self._namespace))
        await thing.add_variable(node_id, shown, [0.0], ua.VariantType.Double)
        await self._server.write_attribute_value(node_id, _make_waiting(waiting_since_ns))
        self._waveforms[machine] = node_id

    async def write_waveform(self, machine: str, samples: Sequence[float], timestamp_ns: int) -> None:
        """Give the machine's waveform, recorded at `timestamp_ns`."""
        value = ua.DataValue(
            Value=ua.Variant(list(samples), ua.VariantType.Double),
            StatusCode=ua.StatusCode(ua.UInt32(StatusCodes.Good)),
            SourceTimestamp=_convert_time(timestamp_ns),
        )
        await self._server.write_attribute_value(self._waveforms[machine], value)

    def count_watched(self, machine: str) -> int:
        """Return how many of the machine's tags some client has subscribed to."""
        watched = {
            item.read_value_id.NodeId
            for subscription in self._list_subscriptions()
            for item in subscription.monitored_item_srv._monitored_items.values()  # noqa: SLF001  # no public view
            if item.read_value_id is not None
        }
        return sum(node_id in watched for (owner, _), node_id in self._nodes.items() if owner == machine)

    def find_backlog(self) -> float:
        """Return how full the fullest queue of a subscribed tag is, as a share of its size.

        A full queue drops its oldest value without a word, so that a writer should wait before that.
        """
        fills = [
            len(waiting) / max(items[item_id].queue_size, 1)
            for subscription in self._list_subscriptions()
            for items in [subscription.monitored_item_srv._monitored_items]  # noqa: SLF001  # no public view
            for item_id, waiting in subscription._triggered_datachanges.items()  # noqa: SLF001  # no public view
            if item_id in items
        ]
        return max(fills, default=0.0)

    def _list_subscriptions(self) -> list[Any]:
        return list(self._server.iserver.subscription_service.subscriptions.values())

    async def stop(self) -> None:
        """Close all connections and stop listening."""
        await self._server.stop()


def _convert_time(timestamp_ns: int) -> ua.DateTime:
    return _EPOCH + timedelta(microseconds=timestamp_ns // 1000)


def _make_waiting(since_ns: int) -> ua.DataValue:
    return ua.DataValue(
        Value=ua.Variant(None, ua.VariantType.Null),
        StatusCode=ua.StatusCode(ua.UInt32(StatusCodes.BadWaitingForInitialData)),
        SourceTimestamp=_convert_time(since_ns),
    )


def _stamp_value(value: float | None, observed: ua.DateTime) -> ua.DataValue:
    if value is None:
        return ua.DataValue(
            Value=ua.Variant(None, ua.VariantType.Null),
            StatusCode=ua.StatusCode(ua.UInt32(StatusCodes.BadNoData)),
            SourceTimestamp=observed,
        )
    return ua.DataValue(
        Value=ua.Variant(value, ua.VariantType.Double),
        StatusCode=ua.StatusCode(ua.UInt32(StatusCodes.Good)),
        SourceTimestamp=observed,
    )
