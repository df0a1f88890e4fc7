"""The plan that `forewarn edge plan` shows is what a poll asks for."""

import json
import re
from pathlib import Path

import pytest
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
SERIAL = """
  - path: s/a/l/meter-{unit}
    kind: modbus
    transport: rtu
    serial: {{device: /dev/ttyS9, baudrate: 9600, parity: none}}
    unit_id: {unit}
    interval_s: 0.5
    gap_max: 100
    tags:
      - {{name: first, table: input, address: 0, type: uint16}}
      - {{name: last, table: input, address: 99, type: uint16}}
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


def test_the_load_of_a_serial_line_is_of_all_its_machines(tmp_path: Path) -> None:
    """Two units of 100 registers twice a second need more than 9600 baud carry; a program reads it, too."""
    machines = [SERIAL.format(unit=unit) for unit in (1, 2)]
    shown = run(tmp_path, *machines).splitlines()[-1]
    # 8 octets ask and 205 answer, at 10 bits each, with two gaps of 3.5 characters, four times a second.
    busy = 4 * ((8 + 205) * 10 + 2 * 3.5 * 11) / 9600
    assert shown.startswith(f"/dev/ttyS9 at 9600 baud: 4 requests a second keep it busy for {busy:.0%} of")
    assert shown.endswith("too much; poll less often (interval_s), fewer tags, or raise the baudrate")
    *requests, load = map(json.loads, run(tmp_path, *machines, options=("--json",)).splitlines())
    assert [one["unit_id"] for one in requests] == [1, 2]
    assert load == {
        "line": "/dev/ttyS9",
        "baudrate": 9600,
        "requests_per_s": 4.0,
        "busy_share": pytest.approx(busy, rel=0.01),
    }


def test_settings_without_modbus_have_no_requests(tmp_path: Path) -> None:
    """That is said rather than shown as nothing."""
    assert "no machine here speaks Modbus" in run(tmp_path, OPCUA)
    assert run(tmp_path, OPCUA, options=("--json",)) == ""


@pytest.mark.parametrize("tag", ["winding_temperature", "dew_point"])
def test_the_plans_in_the_document_are_those_of_their_settings(tag: str, tmp_path: Path) -> None:
    """The document shows what the command prints for the settings above it."""
    text = DOCUMENT.read_text()
    (settings,) = [found for found in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if tag in found]
    file = tmp_path / "edge.yaml"
    file.write_text(settings)
    told = CliRunner().invoke(app, ["edge", "plan", str(file)], catch_exceptions=False)
    assert f"$ forewarn edge plan edge.yaml\n{told.stdout}```" in text


METER = """
  - path: s/a/l/meter-{unit}
    kind: modbus
    transport: rtu
    serial: {{device: /dev/ttyUSB0, baudrate: 9600, parity: none}}
    unit_id: {unit}
    interval_s: {interval_s}
    quirks: {{start_multiple: 2, skip: [{{table: input, first: 6, last: 7}}]}}
    tags:
      - {{name: flow, table: input, address: 1, type: float32}}
      - {{name: volume, table: input, address: 9, type: string, characters: 9}}
"""


def test_quirks_show_in_the_requests(tmp_path: Path) -> None:
    """What is read along for them, and what is asked around, as it will be on the wire."""
    shown = run(tmp_path, METER.format(unit=1, interval_s=1))
    assert [re.sub(r" +", " ", line.strip()) for line in shown.splitlines()][1:3] == [
        "function code 4 input 0..2 3 flow (1 read through)",
        "function code 4 input 8..13 6 volume (1 read through)",
    ]


def test_a_serial_line_says_how_busy_it_will_be(tmp_path: Path) -> None:
    """For all machines on it: two requests of 8 bytes, answers of 5 + 6 and 5 + 12, and four silences."""
    shown = run(tmp_path, METER.format(unit=1, interval_s=1), METER.format(unit=2, interval_s=0.5))
    a_poll_s = (2 * 8 + 5 + 6 + 5 + 12) * 10 / 9600 + 4 * 3.5 * 11 / 9600
    expected = f"requests a second keep it busy for {3 * a_poll_s:.0%} of the time"
    assert shown.splitlines()[-1].startswith(f"/dev/ttyUSB0 at 9600 baud: 6 {expected}")
    assert "too much" not in shown
    crowded = run(tmp_path, METER.format(unit=1, interval_s=0.05))
    assert crowded.splitlines()[-1].endswith(
        "too much; poll less often (interval_s), fewer tags, or raise the baudrate"
    )
