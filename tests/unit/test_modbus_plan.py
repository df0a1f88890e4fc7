"""The plan that `forewarn edge plan` shows is what a poll asks for."""

import json
import re
from pathlib import Path

from typer.testing import CliRunner

import edge.drivers
from forewarn.cli import app

DOCUMENT = Path(edge.drivers.__file__).parent / "modbus.md"
MACHINE = """
  - path: s/a/l/{name}
    kind: modbus
    host: 10.0.0.5
    unit_id: {unit}
    gap_max: 2
    tags:
      - {{name: a, table: holding, address: 10, type: uint16}}
      - {{name: b, table: holding, address: 13, type: float32}}
      - {{name: low, table: holding, address: 14, type: uint16}}
      - {{name: far, table: holding, address: 18, type: float64}}
      - {{name: door, table: discrete, address: 7}}
"""
OPCUA = """
  - path: s/a/l/pump
    kind: opcua
    url: opc.tcp://10.0.0.6:4840
    allow_insecure: true
    tags: [{name: flow, node_id: "i=2258"}]
"""


def run(folder: Path, *machines: str, options: tuple[str, ...] = ()) -> str:
    """Return what the command prints about settings with these machines."""
    file = folder / "edge.yaml"
    file.write_text("gateway: pi-01\nmachines:" + "".join(machines))
    told = CliRunner().invoke(app, ["edge", "plan", str(file), *options], catch_exceptions=False)
    assert told.exit_code == 0
    return told.stdout


def test_every_request_is_shown_with_its_reach(tmp_path: Path) -> None:
    """Unit, function code, table, first register, count, tags, and what is read through."""
    shown = run(tmp_path, MACHINE.format(name="motor", unit=7), OPCUA)
    assert [re.sub(r" +", " ", line.strip()) for line in shown.splitlines()] == [
        "s/a/l/motor (unit 7 at 10.0.0.5:502)",
        "function code 2 discrete 7 1 door",
        "function code 3 holding 10..14 5 a, b, low (2 read through)",
        "function code 3 holding 18..21 4 far",
        "3 requests a poll for 10 registers and bits, 2 of them read through",
    ]


def test_json_gives_an_object_per_request(tmp_path: Path) -> None:
    """For programs: every field by its name, machine by machine."""
    machines = [MACHINE.format(name=f"motor-{unit}", unit=unit) for unit in (1, 2)]
    told = [json.loads(line) for line in run(tmp_path, *machines, options=("--json",)).splitlines()]
    assert [(one["machine"], one["unit_id"], one["first"]) for one in told] == [
        *[("s/a/l/motor-1", 1, first) for first in (7, 10, 18)],
        *[("s/a/l/motor-2", 2, first) for first in (7, 10, 18)],
    ]
    assert told[1] == {
        "machine": "s/a/l/motor-1",
        "line": "10.0.0.5:502",
        "unit_id": 1,
        "function_code": 3,
        "table": "holding",
        "first": 10,
        "count": 5,
        "tags": ["a", "b", "low"],
        "read_through": 2,
        "interval_s": 1.0,
    }


def test_settings_without_modbus_have_no_requests(tmp_path: Path) -> None:
    """That is said rather than shown as nothing."""
    assert "no machine here speaks Modbus" in run(tmp_path, OPCUA)
    assert run(tmp_path, OPCUA, options=("--json",)) == ""


def test_the_plan_in_the_document_is_that_of_its_settings(tmp_path: Path) -> None:
    """The document shows what the command prints for the settings above it."""
    text = DOCUMENT.read_text()
    file = tmp_path / "edge.yaml"
    file.write_text(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0])
    told = CliRunner().invoke(app, ["edge", "plan", str(file)], catch_exceptions=False)
    assert f"$ forewarn edge plan edge.yaml\n{told.stdout}```" in text
