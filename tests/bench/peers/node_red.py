"""Node-RED with npm's Modbus nodes, as a gateway beside ours."""

import json
from pathlib import Path

from tests.bench.peers.gateways import HERE, Gateway
from tests.servers import find_free_port, find_program

NODE_RED = HERE / "node_modules" / "node-red" / "red.js"
BLOCK = 125
CLIENT = {
    "id": "server",
    "type": "modbus-client",
    "clienttype": "tcp",
    "bufferCommands": True,
    "stateLogEnabled": False,
    "queueLogEnabled": False,
    "tcpHost": "127.0.0.1",
    "tcpType": "DEFAULT",
    "unit_id": 1,
    "commandDelay": 1,
    "clientTimeout": 5000,
    "reconnectOnTimeout": True,
    "reconnectTimeout": 2000,
    "parallelUnitIdsAllowed": True,
}
BROKER = {
    "id": "broker",
    "type": "mqtt-broker",
    "broker": "127.0.0.1",
    "autoConnect": True,
    "usetls": False,
    "protocolVersion": 4,
    "keepalive": 60,
    "cleansession": True,
}
READ = {
    "type": "modbus-read",
    "z": "tab",
    "showStatusActivities": False,
    "logIOActivities": False,
    "showErrors": True,
    "unitid": "1",
    "dataType": "HoldingRegister",
    "rate": 1,
    "rateUnit": "s",
    "delayOnStart": False,
    "server": "server",
    "useIOFile": False,
    "useIOForPayload": False,
    "emptyMsgOnFail": False,
}


class NodeRed(Gateway):
    """Node-RED with npm's Modbus nodes: a flow that reads blocks of 125 registers and publishes each."""

    title = "Node-RED"

    def __init__(self, name: str, folder: Path, broker_port: int, port: int, registers: int) -> None:
        super().__init__(name, folder, broker_port)
        (self.folder / "flows.json").write_text(
            json.dumps(make_flow(name, broker_port, port, registers)), encoding="utf-8"
        )
        (self.folder / "settings.js").write_text(
            f"module.exports = {{uiHost: '127.0.0.1', uiPort: {find_free_port()}, flowFile: 'flows.json', "
            "telemetry: {enabled: false}, logging: {console: {level: 'info'}}};\n"
        )

    def _command(self) -> tuple[list[str], dict[str, str]]:
        words = ["--userDir", str(self.folder), "--settings", str(self.folder / "settings.js")]
        return [find_program("node"), str(NODE_RED), *words], {}


def is_installed() -> bool:
    """Return whether Node-RED is here; where it is not, the others are compared without it."""
    return NODE_RED.exists()


def make_flow(name: str, broker_port: int, port: int, registers: int) -> list[dict[str, object]]:
    """Return a flow: for each block a poll, a function that adds the time, and one MQTT output."""
    flow: list[dict[str, object]] = [
        {"id": "tab", "type": "tab", "label": name},
        {**CLIENT, "tcpPort": port},
        {**BROKER, "port": broker_port, "clientid": name},
    ]
    for first in range(0, registers, BLOCK):
        topic = f"plain/{name}/{first}"
        flow += [
            {
                **READ,
                "id": f"read{first}",
                "topic": topic,
                "adr": first,
                "quantity": min(BLOCK, registers - first),
                "wires": [[f"name{first}"], []],
            },
            {
                "id": f"name{first}",
                "type": "function",
                "z": "tab",
                "outputs": 1,
                "func": f"return {{topic: '{topic}', payload: {{ts: Date.now(), values: msg.payload}}}};",
                "wires": [[f"out{first}"]],
            },
            {
                "id": f"out{first}",
                "type": "mqtt out",
                "z": "tab",
                "topic": "",
                "qos": "1",
                "retain": "false",
                "broker": "broker",
                "wires": [],
            },
        ]
    return flow
