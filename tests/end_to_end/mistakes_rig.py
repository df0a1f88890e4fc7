"""A small plant, its settings files with one mistake in them, and what the commands said about it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.programs_rig import Command

PUMP = "riverside/hall-1/water/pump-7"
MOTOR = "riverside/hall-1/water/motor-3"

PLANT = f"""\
opcua: {{port: 0}}
modbus: {{port: 0}}
machines:
  - path: {PUMP}
    type: pump
    protocol: opcua
    tags:
      speed: {{}}
      bearing_temperature: {{}}
  - path: {MOTOR}
    type: motor
    protocol: modbus
    tags:
      speed: {{}}
      current: {{}}
"""


class ServedPlant:
    """`forewarn simulate` with a pump over OPC UA and a motor over Modbus, on free ports."""

    def __init__(self, folder: Path) -> None:
        (folder / "plant.yaml").write_text(PLANT)
        self.program = Command(folder, "simulate", "simulate", "--config", "plant.yaml")
        self.program.wait_for_line('"ready":true')
        ready = self.program.read_json_lines()[0]
        self.opcua_url: str = ready["opcua"]
        self.opcua_port = int(self.opcua_url.split(":")[2].split("/")[0])
        self.modbus_port = int(ready["modbus"].split(":")[1])

    def pump(self, node: str = "pump-7.speed") -> str:
        """Return the pump's entry in edge.yaml, its one tag read from `node`."""
        return (
            f"  - path: {PUMP}\n    kind: opcua\n    url: {self.opcua_url}\n    allow_insecure: true\n"
            f'    tags: [{{name: speed, node_id: "nsu=urn:forewarn:plant;s={node}"}}]\n'
        )

    def motor(self, table: str = "holding", address: int = 0) -> str:
        """Return the motor's entry in edge.yaml, its one tag read from that register."""
        return (
            f"  - path: {MOTOR}\n    kind: modbus\n    host: 127.0.0.1\n    port: {self.modbus_port}\n"
            "    interval_s: 0.1\n"
            f"    tags: [{{name: speed, table: {table}, address: {address}, type: float32}}]\n"
        )


def write_edge(folder: Path, broker: str, *machines: str) -> None:
    """Write edge.yaml."""
    (folder / "edge.yaml").write_text(
        f"gateway: pi-01\nbroker: {{host: 127.0.0.1, {broker}}}\n"
        f"outbox: {{path: outbox.sqlite, flush_s: 0.2}}\nmachines:\n{''.join(machines)}"
    )


def write_cloud(
    folder: Path, broker: str, *lines: str, store: str = "kind: embedded, path: store.sqlite"
) -> None:
    """Write cloud.yaml; more keys come as lines."""
    (folder / "cloud.yaml").write_text(
        f"broker: {{host: 127.0.0.1, {broker}}}\nrecords: {{path: records.sqlite}}\n"
        f"store: {{{store}}}\n" + "".join(f"{line}\n" for line in lines)
    )


def read_log(command: Command) -> list[dict[str, Any]]:
    """Return what a command has logged so far; no line of it may be part of a stack trace."""
    lines = command.log.read_text().splitlines()
    strange = [line for line in lines if not line.startswith("{")]
    assert not strange, strange
    return [json.loads(line) for line in lines]


def find_events(command: Command, event: str) -> list[dict[str, Any]]:
    """Return the facts of every log line of that event."""
    return [line for line in read_log(command) if line["event"] == event]


def swap_in(folder: Path, monkeypatch: pytest.MonkeyPatch, lines: str) -> None:
    """Let every Python program that starts from now on run `lines` first, to put a fault into it."""
    (folder / "swapped").mkdir()
    (folder / "swapped" / "sitecustomize.py").write_text(lines)
    monkeypatch.setenv("PYTHONPATH", str(folder / "swapped"))
