"""Real Modbus and OPC UA servers for the drivers' tests, and a proxy that can fall silent."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from asyncua import Server, ua
from asyncua.common.node import Node
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from asyncua.server.user_managers import UserManager
from cryptography.x509.oid import ExtendedKeyUsageOID
from pymodbus.constants import ExcCodes
from pymodbus.pdu import ModbusPDU
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

HOST = "127.0.0.1"
TABLES = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}
NAMESPACE = "urn:forewarn:plant"

Refusal = Callable[[str, int, int], ExcCodes | None]

STOP_AGAIN_S = 5.0
"""A server that has not stopped by then has not heard."""


class ModbusRig:
    """A pymodbus server of one unit; addresses that are not in `tables` are illegal there."""

    def __init__(self, port: int, tables: dict[str, dict[int, int]]) -> None:
        self.port = port
        self.tables = tables
        self.requests: list[tuple[str, int, int]] = []
        self.written = False
        self.refuse: Refusal = lambda _table, _address, _count: None
        self.delay_s = 0.0
        self.delays_max = 0
        self.cut_answers_from: int | None = None
        self._server: ModbusTcpServer | None = None

    async def start(self) -> None:
        kinds = [("coil", True), ("discrete", True), ("holding", False), ("input", False)]
        tables = tuple(_make_runs(self.tables.get(table, {}), bits=bits) for table, bits in kinds)
        device = SimDevice(1, simdata=tables, action=self._act)
        # Every other unit: what a Modbus gateway says when nobody is there.
        everything = [SimData(0, count=65_536, values=0, datatype=DataType.REGISTERS)]
        absent = SimDevice(0, simdata=everything, action=_absent)
        self._server = ModbusTcpServer([device, absent], address=(HOST, self.port), trace_pdu=self._trace)
        await self._server.serve_forever(background=True)

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.shutdown()
            self._server = None

    async def _act(
        self, function: int, start: int, address: int, count: int, registers: list[Any], new: Any
    ) -> ExcCodes | None:
        if function not in TABLES or new is not None:
            self.written = True
            return ExcCodes.ILLEGAL_FUNCTION
        table = TABLES[function]
        self.requests.append((table, address, count))
        if self.delays_max > 0:
            self.delays_max -= 1
            await asyncio.sleep(self.delay_s)
        refusal = self.refuse(table, address, count)
        if refusal is None and table in ("holding", "input"):
            for at in range(address, address + count):
                registers[at - start] = self.tables[table].get(at, 0)
        return refusal

    def _trace(self, sending: bool, pdu: ModbusPDU) -> ModbusPDU:
        if sending and self.cut_answers_from is not None and len(pdu.registers) > self.cut_answers_from:
            pdu.registers = list(pdu.registers)[: self.cut_answers_from]
        return pdu


async def _absent(*_request: Any) -> ExcCodes:
    return ExcCodes.GATEWAY_NO_RESPONSE


def _make_runs(words: dict[int, int], *, bits: bool) -> list[SimData]:
    """Return the simulator's data of one table: a run per stretch of addresses without a hole."""
    if not words:
        words = {65_535: 0} if not bits else {65_520: 0}
    runs: list[SimData] = []
    for _, numbered in groupby(enumerate(sorted(words)), key=lambda at: at[1] - at[0]):
        addresses = [address for _, address in numbered]
        values: list[Any] = [bool(words[at]) if bits else words[at] for at in addresses]
        kind = DataType.BITS if bits else DataType.REGISTERS
        runs.append(SimData(addresses[0], values=values, datatype=kind))
    return runs


class Identity:
    """A certificate (DER) and its key (PEM), made by itself, of one application."""

    def __init__(self, folder: Path, name: str) -> None:
        self.uri = f"urn:test:{name}"
        self.certificate = folder / f"{name}.der"
        self.private_key = folder / f"{name}.pem"

    async def make(self) -> None:
        await setup_self_signed_certificate(
            self.private_key,
            self.certificate,
            self.uri,
            HOST,
            [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH],
            {"commonName": "test", "organizationName": "Forewarn"},
        )


class OpcuaRig:
    """An asyncua server with the variables of one machine below an object."""

    def __init__(self, port: int) -> None:
        self.url = f"opc.tcp://{HOST}:{port}/forewarn"
        self.identity: Identity | None = None
        self.policies = [ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt]
        self.user_manager: UserManager | None = None
        self.nodes: dict[str, Node] = {}
        self.server: Server | None = None

    async def start(self, values: dict[str, Any] | None = None, *, before: tuple[str, ...] = ()) -> None:
        """Serve `values`; namespaces `before` are registered first, and shift the index of ours."""
        server = Server(user_manager=self.user_manager)
        await server.init()
        server.set_endpoint(self.url)
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        if self.identity is not None:
            server.set_security_policy(self.policies)
            await server.set_application_uri(self.identity.uri)
            await server.load_certificate(str(self.identity.certificate))
            await server.load_private_key(str(self.identity.private_key))
        for uri in before:
            await server.register_namespace(uri)
        await server.register_namespace(NAMESPACE)
        await server.start()
        self.server = server
        await self.add(values or {})

    async def add(self, values: dict[str, Any]) -> None:
        """Add variables below the server's objects."""
        assert self.server is not None
        index = await self.server.get_namespace_index(NAMESPACE)
        for name, value in values.items():
            node_id = ua.NodeId(f"pump-7.{name}", index)
            self.nodes[name] = await self.server.nodes.objects.add_variable(node_id, name, value)

    async def clear(self) -> None:
        """Take all variables away."""
        if self.server is not None and self.nodes:
            await self.server.delete_nodes(list(self.nodes.values()))
        self.nodes = {}

    async def write(
        self,
        name: str,
        value: Any,
        *,
        source: datetime | None = None,
        server: datetime | None = None,
        status: int = 0,
    ) -> None:
        variant = value if isinstance(value, ua.Variant) else ua.Variant(value)
        answer = ua.DataValue(
            variant, StatusCode=ua.StatusCode(status), SourceTimestamp=source, ServerTimestamp=server
        )
        assert self.server is not None
        await self.server.write_attribute_value(self.nodes[name].nodeid, answer)

    async def stop(self) -> None:
        if self.server is None:
            return
        server, self.server = self.server, None
        stopping = asyncio.create_task(server.stop())
        while not stopping.done():
            await asyncio.wait([stopping], timeout=STOP_AGAIN_S)
            # asyncua's task that ends sessions may hand a cancellation on to one of them, and go on itself.
            if not stopping.done() and server.bserver is not None and server.bserver.cleanup_task is not None:
                server.bserver.cleanup_task.cancel()
        await stopping


class SilentProxy:
    """Passes bytes on to `target_port` until it is told to fall silent: then it keeps what it gets."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.port = 0
        self.silent = False
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(HOST, self.target_port)
        for source, sink in ((reader, up_writer), (up_reader, writer)):
            task = asyncio.create_task(self._pass_on(source, sink))
            self._tasks.add(task)

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while octets := await source.read(65_536):
                if not self.silent:
                    sink.write(octets)
                    await sink.drain()
        sink.close()
