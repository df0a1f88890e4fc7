"""Recordings: how they are read, how mistakes in them are named, and how their rows are handed out."""

import math
import struct
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from cloud.machines import MachineCard
from edge.drivers.shelf import MachineSettings
from edge.simulator import recording as recordings
from edge.simulator.modbus_replay import RowRegisters
from edge.simulator.opcua_server import NAMESPACE
from edge.simulator.plant import PlantSettings
from edge.simulator.recording import read_recording
from edge.simulator.replay import find_shift_ns
from edge.simulator.sections import (
    describe_opcua_machine,
    list_cloud_machines,
    list_edge_machines,
    list_node_tags,
    write_section,
)
from models.recordings import RecordingRejected
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


def test_a_test_rigs_own_clock_may_begin_at_zero(tmp_path: Path) -> None:
    """A replay shifts its times, so it takes any."""
    recording = read_recording(write(tmp_path, "time,a\n0,1\n0.25,2\n"))
    assert list(recording.timestamps) == [0, SECOND_NS // 4]


@pytest.mark.parametrize("second", ["2020-01-02", "2020-01-01"])
def test_times_that_do_not_ascend_are_named_with_their_line(tmp_path: Path, second: str) -> None:
    """Rows are replayed in the order of the file: one that goes back is refused, and so is a repeat."""
    file = write(tmp_path, f"time;a\n2020-01-02;1\n{second};2\n")
    with pytest.raises(
        RecordingRejected, match=":3: its time is not after that of the row before: sort"
    ) as caught:
        read_recording(file)
    assert caught.value.exit_code == 3


def test_a_recording_beyond_the_bound_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line is named at which to split it."""
    monkeypatch.setattr(recordings, "ROWS_MAX", 2)
    with pytest.raises(RecordingRejected, match=":4: more than 2 rows: split the file"):
        read_recording(write(tmp_path, "time,a\n1,1\n2,1\n3,1\n"))


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
