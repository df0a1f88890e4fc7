"""Lists of tags to pick from: what is written is read again, and a slip is named with its line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.commands.tag_import import plan_import
from edge.commands.tag_lists import (
    TagListRejected,
    TagRow,
    make_rows,
    read_csv,
    write_csv,
    write_entries,
    write_table,
)
from edge.drivers.opcua.survey import Found
from edge.settings import EdgeSettings
from models.settings import SettingsError, load_settings

URL = "opc.tcp://127.0.0.1:4840"
CONFIG = """gateway: pi-01   # the one in the hall
machines:
  - path: s/a/l/pump
    kind: opcua
    url: opc.tcp://127.0.0.1:4840
    security: {policy: Basic256Sha256, certificate: a.der, private_key: a.pem, server_certificate: b.der}
    tags:
      - name: flow
        node_id: "nsu=urn:plant;s=flow"   # by the gauge

  # the old motor
  - path: s/a/l/motor
    kind: modbus
    host: 127.0.0.1
    tags:
      - {name: current, table: holding, address: 0, type: float32}   # phase 1
"""


def find(tag: str, machine: str = "Pump 7", **more: object) -> Found:
    told = {
        "type": "Double",
        "is_number": True,
        "value": "1.5",
        "unit": "A",
        "low": 0.0,
        "high": 9.5,
        "status": 0,
    }
    return Found(machine, tag, f"nsu=urn:plant;s={tag}", **(told | more))  # type: ignore[arg-type]  # as told


def row(tag: str, machine: str = "s/a/l/pump", url: str = URL, security: str = "none") -> TagRow:
    return TagRow(True, machine, tag, f"nsu=urn:plant;s={tag}", "A", url, security)


def test_names_become_paths_and_tags_that_settings_take() -> None:
    """Every machine gets a path of its own, every tag a name of its own, printable and short enough."""
    found = [
        find("x"),
        find("x", "pump_7"),
        find("x", "PUMP 7"),
        find("a\x07b"),
        find("t" * 200),
        find("t" * 150),
    ]
    rows = make_rows([*found, find("loose", "")], "s/a/l", URL, "none")
    assert [one.machine for one in rows[:4]] == [
        "s/a/l/pump-7",
        "s/a/l/pump_7",
        "s/a/l/pump-7-2",
        "s/a/l/pump-7",
    ]
    assert [one.tag for one in rows[3:6]] == ["a?b", "t" * 128, "t" * 126 + "-2"]
    assert rows[6].machine == "s/a/l/machine"


@given(st.text(min_size=1, max_size=40), st.text(max_size=10))
def test_what_a_list_says_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, tag: str, unit: str
) -> None:
    """Whatever a tag is called, a spreadsheet takes it for no formula and reading gives it back."""
    rows = make_rows([find(tag, unit=unit), find("text", is_number=False)], "s/a/l", URL, "none")
    file = tmp_path_factory.mktemp("list") / "tags.csv"
    file.write_text(write_csv(rows), encoding="utf-8", newline="")
    (again,) = read_csv(file)
    expected = rows[0]
    assert (again.machine, again.node_id, again.url) == (expected.machine, expected.node_id.strip(), URL)
    assert (again.tag, again.unit) == (expected.tag.strip(), expected.unit.strip())
    assert not any(cell.startswith(("=", "+", "@")) for cell in file.read_text().split(","))


def test_a_list_saved_by_a_spreadsheet_is_read(tmp_path: Path) -> None:
    """Semicolons and a byte order mark are no matter, nor are columns in another order."""
    file = tmp_path / "tags.csv"
    text = f"tag;machine;url;node_id;use\nflow;s/a/l/pump;{URL};nsu=urn:plant;X\n".replace(
        "plant;X", "plant|X"
    )
    file.write_text(text.replace("nsu=urn:plant|X", '"nsu=urn:plant;s=flow";X'), encoding="utf-8-sig")
    assert [(one.tag, one.node_id) for one in read_csv(file)] == [("flow", "nsu=urn:plant;s=flow")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tag,unit\n", "tags.csv:1: has no column machine, node_id, url: make the list anew"),
        ("machine,tag,node_id,url\ns/a/l/m,,i=1,u\n", "tags.csv:2: tag is empty"),
        (None, "tags.csv: cannot be read (No such file or directory)"),
    ],
)
def test_a_slip_is_named_with_its_line(tmp_path: Path, text: str | None, expected: str) -> None:
    """What is wrong with a list is said, and where."""
    file = tmp_path / "tags.csv"
    if text is not None:
        file.write_text(text)
    with pytest.raises(TagListRejected) as told:
        read_csv(file)
    assert expected in str(told.value)


def test_machines_written_for_pasting_are_right(tmp_path: Path) -> None:
    """What browse --yaml writes loads below `machines:`, names that YAML could misread included."""
    rows = make_rows(
        [find("no"), find("3"), find('a "b" \\ °'), find("text", is_number=False)], "s/a/l", URL, "none"
    )
    file = tmp_path / "edge.yaml"
    file.write_text("gateway: pi-01\nmachines:\n" + write_entries(rows), encoding="utf-8")
    (machine,) = load_settings(file, EdgeSettings).machines
    assert str(machine.path) == "s/a/l/pump-7"
    assert [tag.name for tag in machine.tags] == ["no", "3", 'a "b" \\ °']


def test_a_table_shows_units_and_ranges() -> None:
    """A person sees value, unit and range of normal operation."""
    lines = write_table(make_rows([find("flow")], "s/a/l", URL, "none")).splitlines()
    assert lines[1].split() == [
        "pump-7",
        "flow",
        "1.5",
        "A",
        "0",
        "to",
        "9.5",
        "Double",
        "Good",
        "nsu=urn:plant;s=flow",
    ]


def write_config(folder: Path) -> Path:
    file = folder / "edge.yaml"
    file.write_text(CONFIG)
    return file


def test_an_import_only_adds_lines_and_keeps_comments_in_their_place(tmp_path: Path) -> None:
    """Tags go to their machine, new machines to the end; nothing else changes until it is written."""
    file = write_config(tmp_path)
    new = row("speed", "s/a/l/fan", "opc.tcp://127.0.0.1:4841")
    edit = plan_import([row("flow"), row("level"), row("heat", "s/a/l/pump-2"), new], file)
    changed = [line for line in edit.difference.splitlines()[2:] if line[0] in "+-"]
    assert not [line for line in changed if line.startswith("-")]
    assert file.read_text() == CONFIG
    edit.write()
    text = file.read_text()
    assert "s=level, unit: A}\n\n  # the old motor\n  - path: s/a/l/motor" in text
    machines = {str(machine.path): machine for machine in load_settings(file, EdgeSettings).machines}
    assert [tag.name for tag in machines["s/a/l/pump"].tags] == ["flow", "level"]
    assert machines["s/a/l/pump-2"].security == machines["s/a/l/pump"].security  # type: ignore[union-attr]  # opcua
    assert machines["s/a/l/fan"].security is None  # type: ignore[union-attr]  # opcua
    assert plan_import([row("level")], file).difference == ""


def test_an_import_that_would_be_wrong_changes_nothing(tmp_path: Path) -> None:
    """A name that stands already, a machine of another kind: said, and the file stays as it is."""
    file = write_config(tmp_path)
    double = TagRow(True, "s/a/l/pump", "flow", "nsu=urn:plant;s=other", "", URL, "none")
    with pytest.raises(SettingsError, match="both named 'flow'"):
        plan_import([double], file)
    with pytest.raises(TagListRejected, match="s/a/l/motor is read by modbus"):
        plan_import([row("x", "s/a/l/motor")], file)
    assert file.read_text() == CONFIG


def test_a_file_that_changed_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    """Between looking and writing somebody else may have saved."""
    file = write_config(tmp_path)
    edit = plan_import([row("level")], file)
    file.write_text(CONFIG + "# mine\n")
    with pytest.raises(SettingsError, match="has been changed meanwhile"):
        edit.write()
    assert file.read_text().endswith("# mine\n")
