"""What `forewarn edge check` says of Sparkplug, to a person and to a program."""

import json
from pathlib import Path

from typer.testing import CliRunner

from forewarn.cli import app

SETTINGS = """
gateway: pi-01
publish: {publish}
sparkplug: {{primary_host: scada, custody: broker, broker: {{host: 192.0.2.20}}}}
machines:
  - path: riverside/hall-1/water/pump-7
    kind: modbus
    host: 192.0.2.7
    tags: [{{name: running, table: coil, address: 4}}]
"""


def check(folder: Path, publish: str, *options: str) -> str:
    """Return what the command prints of such settings."""
    file = folder / "edge.yaml"
    file.write_text(SETTINGS.format(publish=publish))
    told = CliRunner().invoke(app, ["edge", "check", str(file), *options], catch_exceptions=False)
    assert told.exit_code == 0, told.output
    return told.stdout


def test_ids_host_and_custody_are_said(tmp_path: Path) -> None:
    """With what is not promised; nothing where only Forewarn's own wire is spoken."""
    told = check(tmp_path, "sparkplug")
    assert "Sparkplug B: group riverside, edge node pi-01, devices hall-1:water:pump-7" in told
    assert "over 192.0.2.20:1883; waits for the host scada" in told
    assert "custody broker: there is no Forewarn cloud" in told
    assert "Not promised" in told
    assert "Sparkplug" not in check(tmp_path, "forewarn")


def test_json_has_the_same(tmp_path: Path) -> None:
    """Ids by machine, the broker, the host, the custody and its promise."""
    told = json.loads(check(tmp_path, "sparkplug", "--json"))["sparkplug"]
    assert "Not promised" in told.pop("promise")
    assert told == {
        "group": "riverside",
        "edge_node": "pi-01",
        "devices": {"riverside/hall-1/water/pump-7": "hall-1:water:pump-7"},
        "broker": "192.0.2.20:1883",
        "primary_host": "scada",
        "custody": "broker",
    }
    assert json.loads(check(tmp_path, "forewarn", "--json"))["sparkplug"] is None
