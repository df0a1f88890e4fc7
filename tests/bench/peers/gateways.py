"""Gateways as programs of their own: ours, ThingsBoard's, and the obvious few lines."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import find_free_port

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
THINGSBOARD_PYTHON = HERE / ".venv" / "bin" / "python"
STOP_S = 15.0


class Gateway:
    """A program that reads one machine and publishes to one broker; `folder` is its own."""

    title = ""

    def __init__(self, name: str, folder: Path, broker_port: int) -> None:
        self.name = name
        self.folder = folder / name
        self.folder.mkdir()
        self._broker_port = broker_port
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The number of the running program."""
        assert self._running is not None
        assert self._running.poll() is None, f"{self.name} ended:\n{self.log[-3000:]}"
        return self._running.pid

    @property
    def log(self) -> str:
        """What it said."""
        return (self.folder / "said.log").read_text(errors="replace")

    def start(self) -> None:
        """Start it."""
        command, environment = self._command()
        with (self.folder / "said.log").open("ab") as said:
            self._running = subprocess.Popen(
                command, cwd=self.folder, stdout=said, stderr=said, env=os.environ | environment
            )

    def stop(self) -> None:
        """End it."""
        if self._running is not None:
            self._running.terminate()
            try:
                self._running.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._running is not None:
            self._running.kill()
            self._running.wait()

    def _command(self) -> tuple[list[str], dict[str, str]]:
        raise NotImplementedError


class Forewarn(Gateway):
    """Our edge agent with its defaults; `machines` are entries of edge.yaml without path and interval."""

    title = "Forewarn"

    def __init__(
        self,
        name: str,
        folder: Path,
        broker_port: int,
        *machines: dict[str, object],
        flush_s: float = 1.0,
        interval_s: float = 1.0,
    ) -> None:
        super().__init__(name, folder, broker_port)
        settings = {
            "gateway": name,
            "broker": {"port": broker_port},
            "outbox": {"flush_s": flush_s},
            "health": {"port": find_free_port()},
            "machines": [
                {"path": f"s/a/l/m{number}", "interval_s": interval_s, **machine}
                for number, machine in enumerate(machines)
            ],
        }
        # JSON is YAML.
        (self.folder / "edge.yaml").write_text(json.dumps(settings))

    def _command(self) -> tuple[list[str], dict[str, str]]:
        words = ["-m", "forewarn", "edge", "run", "--config", "edge.yaml"]
        return [sys.executable, *words], {"PYTHONPATH": str(ROOT)}


def modbus_machine(port: int, registers: int) -> dict[str, object]:
    """Return our entry for the first holding registers of a server."""
    tags = [
        {"name": f"t{at}", "table": "holding", "address": at, "type": "uint16"} for at in range(registers)
    ]
    return {"kind": "modbus", "host": "127.0.0.1", "port": port, "tags": tags}


def opcua_machine(url: str, nodes: int) -> dict[str, object]:
    """Return our entry for the nodes of `opcua_server.js`, polled."""
    tags = [{"name": f"t{at}", "node_id": f"ns=1;s=t{at}"} for at in range(nodes)]
    return {"kind": "opcua", "url": url, "mode": "poll", "allow_insecure": True, "tags": tags}


class ThingsBoard(Gateway):
    """ThingsBoard's gateway with its sample configuration but for addresses; `storage` as in its manual."""

    title = "ThingsBoard gateway"

    def __init__(
        self,
        name: str,
        folder: Path,
        broker_port: int,
        connector: tuple[str, dict[str, object]],
        *,
        storage: str = "memory",
    ) -> None:
        super().__init__(name, folder, broker_port)
        if not THINGSBOARD_PYTHON.exists():
            pytest.skip("ThingsBoard's gateway is not installed (from PyPI): make bench-peers")
        kind, settings = connector
        site = next((HERE / ".venv" / "lib").glob("python*/site-packages/thingsboard_gateway/config"))
        shutil.copy(site / "logs.json", self.folder)
        general = json.loads((site / "tb_gateway.json").read_text())
        general["thingsboard"] |= {"host": "127.0.0.1", "port": broker_port, "remoteConfiguration": False}
        general["thingsboard"]["security"]["accessToken"] = name
        general["storage"] |= {"type": storage}
        general["connectors"] = [{"name": kind, "type": kind, "configuration": f"{kind}.json"}]
        (self.folder / "tb_gateway.json").write_text(json.dumps(general))
        (self.folder / f"{kind}.json").write_text(json.dumps(settings))
        (self.folder / "logs").mkdir()

    def _command(self) -> tuple[list[str], dict[str, str]]:
        return [str(THINGSBOARD_PYTHON), str(HERE / "thingsboard_launch.py")], {
            "TB_GW_CONFIG_DIR": str(self.folder)
        }


def thingsboard_modbus(name: str, port: int, registers: int) -> tuple[str, dict[str, object]]:
    """Return ThingsBoard's connector for the first holding registers of a server."""
    tags = [
        {"tag": f"t{at}", "type": "16uint", "address": at, "objectsCount": 1, "functionCode": 3}
        for at in range(registers)
    ]
    slave = {
        "host": "127.0.0.1",
        "port": port,
        "type": "tcp",
        "method": "socket",
        "unitId": 1,
        "deviceName": name,
        "deviceType": "default",
        "timeout": 35,
        "byteOrder": "BIG",
        "wordOrder": "BIG",
        "retries": 3,
        "retryOnEmpty": True,
        "retryOnInvalid": True,
        "pollPeriod": 1000,
        "connectAttemptTimeMs": 500,
        "connectAttemptCount": 5,
        "waitAfterFailedAttemptsMs": 30_000,
        "attributes": [],
        "timeseries": tags,
        "attributeUpdates": [],
        "rpc": [],
    }
    return "modbus", {"master": {"slaves": [slave]}}


def thingsboard_opcua(name: str, url: str, nodes: int) -> tuple[str, dict[str, object]]:
    """Return ThingsBoard's connector for the nodes of `opcua_server.js`, polled."""
    constant = "constant"
    mapping = {
        "deviceNodeSource": "path",
        "deviceNodePattern": r"Root\.Objects\.Plant",
        "deviceInfo": {
            "deviceNameExpression": name,
            "deviceNameExpressionSource": constant,
            "deviceProfileExpression": "default",
            "deviceProfileExpressionSource": constant,
        },
        "attributes": [],
        "timeseries": [
            {"key": f"t{at}", "type": "identifier", "value": f"${{ns=1;s=t{at}}}"} for at in range(nodes)
        ],
        "rpc_methods": [],
        "attributes_updates": [],
    }
    server = {
        "url": url,
        "timeoutInMillis": 30_000,
        "scanPeriodInMillis": 3_600_000,
        "pollPeriodInMillis": 1000,
        "enableSubscriptions": False,
        "showMap": False,
        "sessionTimeoutInMillis": 120_000,
        "security": "None",
        "identity": {"type": "anonymous"},
    }
    return "opcua", {"server": server, "mapping": [mapping]}


class ObviousOpcua(Gateway):
    """The few lines that come to mind: asyncua's bulk read, row-wise JSON, paho."""

    title = "asyncua's read_values, JSON, paho"

    def __init__(self, name: str, folder: Path, broker_port: int, url: str, nodes: int) -> None:
        super().__init__(name, folder, broker_port)
        self._words = [url, str(nodes), str(broker_port), f"plain/{name}/0"]

    def _command(self) -> tuple[list[str], dict[str, str]]:
        return [sys.executable, str(HERE / "obvious_opcua.py"), *self._words], {}
