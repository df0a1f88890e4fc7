"""Recordings: how they are read, how mistakes in them are named, and how their rows are handed out."""

import math
import struct
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from cloud.machines import MachineCard
from edge.drivers.shelf import MachineSettings
from edge.simulator.modbus_replay import RowRegisters
from edge.simulator.opcua_server import NAMESPACE
from edge.simulator.plant import PlantSettings
from edge.simulator.recording import RecordingRejected, read_recording
from edge.simulator.replay import find_shift_ns
from edge.simulator.sections import (
    describe_opcua_machine,
    list_cloud_machines,
    list_edge_machines,
    list_node_tags,
    write_section,
)
from models.settings import Settings, load_settings

SECOND_NS = 1_000_000_000
PLANT_FILE = Path(__file__).parent.parent.parent / "configs" / "demo" / "plant.yaml"


class EdgeSection(Settings):
    """What `machines:` of edge.yaml must be."""

    machines: tuple[MachineSettings, ...]


def write(folder: Path, text: str) -> Path:
    """Write a recording."""
    file = folder / "recording.csv"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_recording_keeps_its_columns_as_tags_and_leaves_labels_out(tmp_path: Path) -> None:
    """Time and labels are no tags; names stay as they are; an empty cell is no number."""
    text = "datetime;Volume Flow RateRMS;Current;anomaly;changepoint\n"
    text += "2020-03-01 15:44:06;76.0197;1.27794;0.0;0.0\n2020-03-01 15:44:07;;1.12118;1.0;0.0\n\n"
    recording = read_recording(write(tmp_path, text))
    assert list(recording.columns) == ["Volume Flow RateRMS", "Current"]
    assert list(recording.timestamps) == [1583077446 * SECOND_NS, 1583077447 * SECOND_NS]
    assert recording.row(0) == {"Volume Flow RateRMS": 76.0197, "Current": 1.27794}
    assert math.isnan(recording.row(1)["Volume Flow RateRMS"])


def test_named_columns_are_replayed_in_the_order_named(tmp_path: Path) -> None:
    """`--columns` chooses, labels too."""
    recording = read_recording(write(tmp_path, "time,a,b,anomaly\n1,2,3,0\n"), ["anomaly", "b"])
    assert recording.row(0) == {"anomaly": 0.0, "b": 3.0}


@pytest.mark.parametrize(
    ("text", "expected_ns"),
    [
        ("2026-11-23T14:05:00.25Z", 1795442700250000000),
        ("2026-11-23T15:05:00+01:00", 1795442700000000000),
        ("1795442700", 1795442700000000000),
        ("1795442700.5", 1795442700500000000),
        ("1795442700250", 1795442700250000000),
        ("1795442700250001", 1795442700250001000),
        ("1795442700250000017", 1795442700250000017),
    ],
)
def test_times_are_understood_as_people_write_them(tmp_path: Path, text: str, expected_ns: int) -> None:
    """ISO 8601 with or without zone, and seconds to nanoseconds since 1970."""
    assert list(read_recording(write(tmp_path, f"timestamp,a\n{text},1\n")).timestamps) == [expected_ns]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("time;a\n2020-01-01;1\n2020-01-02;x1\n", ":3: column 'a': 'x1' is not a number"),
        ("time;a\n2020-01-01;1\nsoon;2\n", ":3: column 'time': 'soon' is not a time"),
        ("time;a\n2020-01-02;1\n2020-01-02;2\n", ":3: column 'time': 2020-01-02 is not after the row before"),
        ("time;a\n2020-01-01;1;2\n", ":2: has 3 cells, the header has 2"),
        ("time;a;a\n2020-01-01;1;2\n", ":1: column 'a' stands 2 times"),
        ("time;anomaly\n2020-01-01;1\n", ":1: has no column but time, anomaly"),
        ("time;a\n", ": has no rows below its header"),
        ("", ":1: has no header"),
    ],
)
def test_a_mistake_in_a_recording_is_named_with_line_and_column(
    tmp_path: Path, text: str, complaint: str
) -> None:
    """Who mends the file need not search."""
    file = write(tmp_path, text)
    with pytest.raises(RecordingRejected) as caught:
        read_recording(file)
    assert f"{file}{complaint}" in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """The message lists what there is; a missing file is named."""
    with pytest.raises(RecordingRejected, match=r":1: has no column 'Flow'; it has time, flow"):
        read_recording(write(tmp_path, "time,flow\n1,2\n"), ["Flow"])
    with pytest.raises(RecordingRejected, match=r"none\.csv: cannot be read \(No such file"):
        read_recording(tmp_path / "none.csv")


@pytest.mark.parametrize("speed", [0.5, 1.0, 50.0])
def test_shifted_times_are_never_in_the_future(speed: float) -> None:
    """Each row's shifted time is at or before the moment it is served, and the last is as late as can be."""
    timestamps = [1_000 * SECOND_NS, 1_010 * SECOND_NS, 1_100 * SECOND_NS]
    begin_ns = 1_795_000_000 * SECOND_NS + 123
    shift_ns = find_shift_ns(timestamps, speed, begin_ns)
    served_ns = [begin_ns + (timestamp - timestamps[0]) / speed for timestamp in timestamps]
    late_ns = [served - timestamp - shift_ns for served, timestamp in zip(served_ns, timestamps, strict=True)]
    assert all(late >= 0 for late in late_ns)
    assert min(late_ns) < 2_000_000


def make_registers(folder: Path, rows: int, tags: int = 2) -> RowRegisters:
    """Return the registers of a recording whose cell at (row, tag) is `100 row + tag`."""
    lines = [",".join(["time", *(f"t{tag}" for tag in range(tags))])]
    lines += [",".join(map(str, [row, *(100 * row + tag for tag in range(tags))])) for row in range(rows)]
    return RowRegisters(read_recording(write(folder, "\n".join(lines) + "\n")))


def read(registers: RowRegisters, address: int, transaction: int) -> float | None:
    """Return the float64 at `address`, as one request would."""
    words = registers.read(address, transaction)
    if words is None:
        return None
    return struct.unpack(">d", struct.pack(">4H", *words[address : address + 4]))[0]


def test_each_poll_is_handed_the_next_row_and_after_the_last_the_unit_is_busy(tmp_path: Path) -> None:
    """No row twice, none left out, none after the end."""
    registers = make_registers(tmp_path, rows=3)
    assert [read(registers, 0, transaction) for transaction in range(1, 4)] == [0.0, 100.0, 200.0]
    assert not registers.is_over.is_set()
    assert read(registers, 0, 4) is None
    assert registers.is_over.is_set()
    assert registers.served == 3


def test_a_row_read_in_several_requests_stays_one_row(tmp_path: Path) -> None:
    """The row changes when a poll begins anew, not between its blocks."""
    registers = make_registers(tmp_path, rows=2, tags=40)
    seen = [read(registers, address, number) for number, address in enumerate([0, 124, 156, 0, 124, 156])]
    assert seen == [0.0, 31.0, 39.0, 100.0, 131.0, 139.0]


def test_a_request_sent_again_gets_the_same_row(tmp_path: Path) -> None:
    """A client that lost an answer repeats the transaction, and loses no row."""
    registers = make_registers(tmp_path, rows=2)
    assert [read(registers, 0, transaction) for transaction in (1, 1, 2)] == [0.0, 0.0, 100.0]


def test_the_edge_section_of_a_plant_is_accepted_by_the_drivers(tmp_path: Path) -> None:
    """What the simulator writes can be pasted into edge.yaml."""
    plant = load_settings(PLANT_FILE, PlantSettings)
    file = tmp_path / "edge.yaml"
    file.write_text(write_section(list_edge_machines(plant, "opc.tcp://127.0.0.1:4840", "127.0.0.1:5020")))
    machines = load_settings(file, EdgeSection).machines
    assert [machine.path for machine in machines] == [machine.path for machine in plant.machines]
    for machine, shown in zip(machines, plant.machines, strict=True):
        assert [tag.name for tag in machine.tags] == list(shown.tags)
        assert [tag.unit for tag in machine.tags] == [card.unit for card in shown.tags.values()]


def test_no_tag_name_breaks_out_of_the_section(tmp_path: Path) -> None:
    """Names with quotes, colons and markup arrive as they are."""
    names = ["<script>alert(1)</script>", 'a": {b}', "x: - #y", "Volume Flow RateRMS", "Größe ½"]
    tags = list_node_tags("rig", dict.fromkeys(names, "°C"))
    file = tmp_path / "edge.yaml"
    file.write_text(write_section([describe_opcua_machine("a/b/c/rig", "opc.tcp://127.0.0.1:4840", tags)]))
    machine = load_settings(file, EdgeSection).machines[0]
    assert [tag.name for tag in machine.tags] == names
    assert [tag.node_id for tag in machine.tags] == [f"nsu={NAMESPACE};s=rig.{name}" for name in names]


def test_the_cloud_section_carries_titles_units_and_limits() -> None:
    """What people call the machines, and the fixed limit where there is one."""
    plant = load_settings(PLANT_FILE, PlantSettings)
    section = YAML(typ="safe").load(write_section(list_cloud_machines(plant)))["machines"][0]
    assert section["path"] == "riverside/hall-1/water/pump-7"
    assert (section["type"], section["title"]) == ("pump", "Feed pump 7")
    assert section["tags"]["vibration_velocity"] == {
        "unit": "mm/s",
        "title": "Vibration velocity (RMS)",
        "high": 7.1,
    }
    assert "high" not in section["tags"]["suction_pressure"]
    for described in list_cloud_machines(plant):
        card = MachineCard.model_validate(described)
        assert card.tag("vibration_velocity").title == "Vibration velocity (RMS)"
