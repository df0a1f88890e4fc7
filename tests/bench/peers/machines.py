"""The machines that gateways read: libmodbus and node-opcua as programs of their own."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.modbus_peers import compile_libmodbus
from tests.servers import Server, find_free_port, find_peer, find_program

HERE = Path(__file__).parent


def compile_modbus_server(folder: Path) -> Path:
    """Return the counting Modbus server, compiled; skip without libmodbus."""
    return compile_libmodbus(HERE / "counting_modbus_server.c", folder)


class ModbusMachine(Server):
    """A server of `registers` holding registers, each of which holds how often register 0 was read."""

    def __init__(self, program: Path, folder: Path, registers: int) -> None:
        port = find_free_port()
        super().__init__([str(program), str(port), str(registers)], port, folder)


class OpcuaMachine:
    """`opcua_server.js` with `count` variables, renewed "together" or "each" at its read."""

    def __init__(self, folder: Path, count: int, manner: str = "together") -> None:
        self.port = find_free_port()
        self._folder = folder
        self._log = folder / f"opcua-{self.port}.log"
        packages = find_peer("node-opcua") / "node_modules"
        self._environment = os.environ | {"NODE_PATH": str(packages)}
        server = [
            str(HERE / "opcua_server.js"),
            str(self.port),
            str(count),
            str(folder / f"pki-{self.port}"),
            manner,
        ]
        self._command = [find_program("node"), *server]
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"opc.tcp://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The number of the running program."""
        assert self._running is not None
        return self._running.pid

    def start(self, patience_s: float = 60.0) -> None:
        """Start it; return once it serves."""
        with self._log.open("wb") as log:
            self._running = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._environment)
        end = time.monotonic() + patience_s
        while "ready" not in self._log.read_text(errors="replace"):
            if self._running.poll() is not None or time.monotonic() > end:
                pytest.fail(f"node-opcua does not serve:\n{self._log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End it."""
        if self._running is not None:
            self._running.kill()
            self._running.wait()
