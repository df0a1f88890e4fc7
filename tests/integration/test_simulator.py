"""The simulated plant as its users run it: two protocols, faults, and mistakes answered with messages."""

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.simulator_rig import (
    COMMAND,
    END_S_MAX,
    PLANT_FILE,
    ROOT,
    Simulator,
    Start,
    gather,
    keep_simulators,
)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts simulators, which are ended with the test."""
    yield from keep_simulators(tmp_path)


def start_plant(start: Start, *options: str) -> Simulator:
    """Start the demo's plant on free ports."""
    return start("--config", str(PLANT_FILE), "--opcua-port", "0", "--modbus-port", "0", *options)


async def test_the_plant_is_read_over_both_protocols_and_ends_when_asked(start: Start) -> None:
    """Each machine of the demo shows all its tags in engineering units, and SIGTERM ends it cleanly."""
    simulator = start_plant(start)
    machines = simulator.load_machines()
    assert list(machines) == ["pump-7", "compressor-2", "motor-3"]
    for machine in machines.values():
        seen = await gather(machine.build(), lambda seen, names=machine.tags: len(seen) == len(names))
        for tag in machine.tags:
            for timestamp_ns, _ in seen[tag.name]:
                assert abs(time.time_ns() - timestamp_ns) < 20e9
        assert 1000 < seen["speed"][0][1] < 3200
        assert 0.5 < seen["vibration_velocity"][0][1] < 4.5
        assert 30 < seen["bearing_temperature"][0][1] < 80
    assert simulator.ready["faults"] == []
    assert simulator.end() == 0


async def test_opcua_values_lie_on_the_grid_of_the_simulation(start: Start) -> None:
    """Source timestamps are the steps' own, every `update_s` one, whatever the clock did."""
    simulator = start_plant(start)
    driver = simulator.load_machines()["pump-7"].build()
    seen = await gather(driver, lambda seen: len(seen.get("vibration_velocity", [])) >= 5)
    start_ns = simulator.ready["start_ns"]
    # OPC UA times have steps of 100 ns, and asyncua reads them to the microsecond.
    steps = [(stamp - start_ns) / 5e8 for stamp, _ in seen["vibration_velocity"]][1:]
    assert all(abs(step - round(step)) < 1e-5 for step in steps)


async def test_a_fault_begins_and_ends_when_asked(start: Start) -> None:
    """With its failure in the past the machine stands still; the labels say when, in absolute time."""
    begun_s = time.time() - 60.0
    simulator = start_plant(
        start,
        *("--fault", "misalignment", "--machine", "riverside/hall-1/water/motor-3"),
        *("--onset", "10", "--failure", "30.5", "--start-at", str(begun_s)),
    )
    assert simulator.ready["faults"] == [
        {
            "machine": "riverside/hall-1/water/motor-3",
            "kind": "misalignment",
            "onset_ns": simulator.ready["start_ns"] + 10_000_000_000,
            "failure_ns": simulator.ready["start_ns"] + 30_500_000_000,
            "tags": ["vibration_velocity", "bearing_temperature", "current"],
        }
    ]
    motor = simulator.load_machines()["motor-3"]
    seen = await gather(motor.build(), lambda seen: len(seen.get("speed", [])) >= 2)
    assert max(value for _, value in seen["speed"]) < 20.0
    assert max(value for _, value in seen["current"]) < 1.0


@pytest.mark.parametrize(
    ("option", "other"), [("--opcua-port", "--modbus-port"), ("--modbus-port", "--opcua-port")]
)
def test_a_busy_port_is_named_with_the_option_that_chooses_another(option: str, other: str) -> None:
    """One of the ten commonest mistakes: exit code 3 and the mend, no stack trace."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        ended = subprocess.run(
            [*COMMAND, "--config", str(PLANT_FILE), option, str(port), other, "0"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=END_S_MAX,
            check=False,
        )
    assert ended.returncode == 3
    expected = (
        f"port {port} on 127.0.0.1 is in use: choose another with {option}, or stop the other program\n"
    )
    assert ended.stderr == expected


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (
            ("--fault", "cavitation", "--machine", "a/b/c/d"),
            "the plant has no machine a/b/c/d; it has riverside",
        ),
        (("--fault", "flood"), "--fault flood: "),
        (("--replay", "none.csv"), "--replay needs --machine"),
        (("--replay", "none.csv", "--machine", "a/b/c/d"), "none.csv: cannot be read"),
        (
            ("--replay", "x.csv", "--machine", "a/b/c/d", "--protocol", "can"),
            "'can' is not one of opcua, modbus",
        ),
    ],
)
def test_mistakes_in_the_options_are_messages(options: tuple[str, ...], complaint: str) -> None:
    """Each ends with exit code 3 and one line."""
    ended = subprocess.run(
        [*COMMAND, "--config", str(PLANT_FILE), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=END_S_MAX,
        check=False,
    )
    assert ended.returncode == 3, ended.stderr
    assert complaint in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_past_is_written_quickly(tmp_path: Path) -> None:
    """`--csv-dir` writes and ends, without a server."""
    ended = subprocess.run(
        [
            *COMMAND,
            "--config",
            str(PLANT_FILE),
            "--csv-dir",
            str(tmp_path),
            "--history",
            "60",
            "--until",
            "1795000000",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=END_S_MAX,
        check=True,
    )
    files = [Path(line) for line in ended.stdout.split()]
    assert [file.name for file in files] == ["pump-7.csv", "compressor-2.csv", "motor-3.csv"]
    assert [len(file.read_text().splitlines()) for file in files] == [121, 121, 121]
