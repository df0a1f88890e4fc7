"""npm's node-opcua as a machine that was not written here: started on a free port, told what to write."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

from edge.drivers.opcua.driver import OpcuaDriver
from edge.drivers.opcua.settings import OpcuaMachineSettings
from forewarn.demo.programs import find_free_port
from models.telemetry import Gap
from tests.integration.opcua_rig import read_for
from tests.servers import Server, find_peer, find_program, wait_until

NAMESPACE = "urn:forewarn:plant"
PATIENCE_S = 20.0


class NodeOpcua(Server):
    """A node-opcua server of one machine, `pump-7`; see tests/peers/opcua_server.js for the wishes."""

    def __init__(self, folder: Path, **wishes: Any) -> None:
        port = find_free_port()
        self._wishes = {"port": port, "folder": str(folder), **wishes}
        script = find_peer("node-opcua") / "opcua_server.js"
        command = [find_program("node"), str(script), json.dumps(self._wishes)]
        super().__init__(command, port, folder)
        self.url = f"opc.tcp://127.0.0.1:{port}/forewarn"

    def change(self, **wishes: Any) -> None:
        """Be another server from the next start on."""
        self._wishes |= wishes
        self._command[-1] = json.dumps(self._wishes)

    def start(self) -> None:
        """Start the program and wait until it answers."""
        with self._log.open("ab") as log:
            self._running = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=log, stderr=log)
        wait_until(self._is_up, f"node-opcua answers on port {self.port}; its log: {self._log}", 60.0)

    def write(
        self, node: str, value: float, *, time_ms: int | None = None, status: str | None = None
    ) -> None:
        """Have the server write a value into one of its nodes."""
        assert self._running is not None
        assert self._running.stdin is not None
        order = {"node": node, "value": value, "time_ms": time_ms, "status": status}
        self._running.stdin.write(json.dumps(order).encode() + b"\n")
        self._running.stdin.flush()

    @property
    def pid(self) -> int:
        """The number of the running program."""
        assert self._running is not None
        return self._running.pid


def settings_of(server: NodeOpcua, nodes: list[str], **more: Any) -> OpcuaMachineSettings:
    """Return a machine whose tags are named after the server's nodes; `more` overrides."""
    tags = [{"name": node, "node_id": f"nsu={NAMESPACE};s=pump-7.{node}"} for node in nodes]
    described = {"kind": "opcua", "path": "s/a/l/pump", "url": server.url, "interval_s": 0.1, "tags": tags}
    insecure = {"allow_insecure": True} if "security" not in more else {}
    return OpcuaMachineSettings.model_validate(described | insecure | more)


def build(server: NodeOpcua, nodes: list[str], **more: Any) -> OpcuaDriver:
    """Return the driver of such a machine."""
    return settings_of(server, nodes, **more).build()


async def count(driver: OpcuaDriver, tag: str, rows: int) -> list[float]:
    """Return the next numbers of a counter."""
    told = await read_for(driver, tag, rows)
    return [told[stamp][0] for stamp in sorted(told)]


async def read_gaps(driver: OpcuaDriver) -> list[Gap]:
    """Read until the driver tells of a gap."""
    async with asyncio.timeout(PATIENCE_S):
        while not (gaps := driver.take_gaps()):
            await driver.read()
    return gaps


def describe_pressure(**more: Any) -> list[dict[str, Any]]:
    """Return the analog item as a machine's tags."""
    return [{"name": "pressure", "node_id": "nsu=urn:forewarn:plant;s=pump-7.pressure", **more}]
