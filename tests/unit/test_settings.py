"""Settings files: every mistake at once, with file, line, column and the nearest right word."""

import os
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from models.settings import ConfigPath, Secret, Settings, SettingsError, load_settings


class PaperTag(Settings):
    """A tag of a test's machine."""

    name: str
    address: int = Field(ge=0, le=65535)
    table: Literal["holding", "input", "coil"] = "holding"


class PaperModbus(Settings):
    """A machine of the first kind."""

    kind: Literal["paper-modbus"]
    host: str
    port: int = 502
    tags: list[PaperTag] = []


class PaperOpcua(Settings):
    """A machine of the second kind."""

    kind: Literal["paper-opcua"]
    url: str
    password: Secret | None = None


class PaperCrew(Settings):
    """Who is told."""

    name: str


class PaperPlant(Settings):
    """The whole file."""

    gateway: str
    crews: Annotated[tuple[PaperCrew, ...], Field(min_length=1)] = (PaperCrew(name="a"),)
    outbox: ConfigPath = Path("outbox.sqlite")
    machines: list[Annotated[PaperModbus | PaperOpcua, Field(discriminator="kind")]] = []


def complaints(folder: Path, text: str) -> list[str]:
    """The lines of the error that `text` ends in, without the folder in front."""
    file = folder / "plant.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(file, PaperPlant)
    assert caught.value.exit_code == 3
    return [line.replace(f"{folder}{os.sep}", "") for line in str(caught.value).splitlines()]


def test_a_good_file_loads_and_its_paths_are_meant_from_its_folder(tmp_path: Path) -> None:
    """`site: NO` stays a text, and a relative path stands beside the file."""
    (tmp_path / "plant.yaml").write_text("gateway: NO\nmachines: [{kind: paper-modbus, host: a}]\n")
    plant = load_settings(tmp_path / "plant.yaml", PaperPlant)
    assert plant.gateway == "NO"
    assert plant.outbox == tmp_path / "outbox.sqlite"
    assert isinstance(plant.machines[0], PaperModbus)


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    """Five mistakes, five lines, each where it stands and with the nearest right word."""
    assert complaints(
        tmp_path,
        """\
machines:
  - kind: paper-modbus
    host: 10.0.0.7
    prot: 502
    tags:
      - {name: current, address: 70000}
      - {name: speed, address: 3, table: holdings}
  - kind: paper-opua
    url: opc.tcp://x
""",
    ) == [
        "plant.yaml:1:1 gateway: is missing.",
        "plant.yaml:4:5 machines[0].prot: unknown key. Did you mean port?",
        "plant.yaml:6:25 machines[0].tags[0].address: Input should be less than or equal to 65535 "
        "(found 70000).",
        "plant.yaml:7:35 machines[0].tags[1].table: 'holdings' is not one of holding, input, coil. "
        "Did you mean holding?",
        "plant.yaml:8:5 machines[1]: kind 'paper-opua' is not one of paper-modbus, paper-opcua. "
        "Did you mean paper-opcua?",
    ]


def test_a_list_is_not_called_empty_because_its_entries_are_wrong(tmp_path: Path) -> None:
    """pydantic counts a list's right entries only; a person reads of the wrong one alone."""
    assert complaints(tmp_path, "gateway: a\ncrews: [{nam: x}]\n") == [
        "plant.yaml:2:9 crews[0].name: is missing.",
        "plant.yaml:2:10 crews[0].nam: unknown key. Did you mean name?",
    ]
    assert complaints(tmp_path, "gateway: a\ncrews: []\n") == [
        "plant.yaml:2:1 crews: needs at least 1 of them (found an empty list)."
    ]


def test_the_nearest_key_is_one_of_the_same_class(tmp_path: Path) -> None:
    """A key of another kind of machine is never suggested, however near it is."""
    assert complaints(tmp_path, "gateway: a\nmachines: [{kind: paper-opcua, url: x, hots: y}]\n") == [
        "plant.yaml:2:40 machines[0].hots: unknown key. Known here: password."
    ]


def test_a_secret_in_clear_is_refused_without_repeating_it(tmp_path: Path) -> None:
    """The message tells the two right ways, and the secret does not reach a log."""
    found = complaints(
        tmp_path, "gateway: a\nmachines:\n  - {kind: paper-opcua, url: x, password: hunter2}\n"
    )
    assert found == [
        "plant.yaml:3:33 machines[0].password: a secret is never written in YAML: put it into a file and say "
        "{file: PATH}, or into the environment and say {env: NAME}"
    ]


def test_a_machine_without_a_kind_is_told_so(tmp_path: Path) -> None:
    """The key that decides everything else is asked for by name."""
    assert complaints(tmp_path, "gateway: a\nmachines:\n  - host: x\n") == [
        "plant.yaml:3:5 machines[0]: is missing its key kind."
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("gateway: [a\n", "plant.yaml:2:1: not YAML:"),
        ("gateway: a\ngateway: b\n", "plant.yaml:2:1: not YAML:"),
        ("- a\n", "plant.yaml:1:1: expected keys and values, found a list of 1"),
        ("", "plant.yaml:1:1: expected keys and values, found nothing"),
        ("gateway:\n", "plant.yaml:1:1 gateway: Input should be a valid string (found nothing)."),
        ("gateway: a\nmachines: 3\n", "plant.yaml:2:1 machines: Input should be a valid list (found 3)."),
        ("gateway: a\nzzz: 3\n", "plant.yaml:2:1 zzz: unknown key. Known here: crews, machines, outbox."),
    ],
)
def test_broken_files_are_explained(tmp_path: Path, text: str, complaint: str) -> None:
    """YAML's own mistakes get a place as well."""
    assert complaints(tmp_path, text)[0].startswith(complaint)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """The reason of the operating system is passed on."""
    with pytest.raises(SettingsError, match=r"plant\.yaml: cannot be read \(No such file or directory\)"):
        load_settings(tmp_path / "plant.yaml", PaperPlant)


def test_a_secret_is_read_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line end of the file is not part of the secret; what is missing is named with the mend."""
    (tmp_path / "token").write_text("s3cret\n")
    assert Secret(file=tmp_path / "token").read() == "s3cret"
    monkeypatch.setenv("PAPER_TOKEN", "other")
    assert Secret(env="PAPER_TOKEN").read() == "other"
    with pytest.raises(SettingsError, match="cannot read the secret"):
        Secret(file=tmp_path / "absent").read()
    with pytest.raises(SettingsError, match="has no PAPER_ABSENT"):
        Secret(env="PAPER_ABSENT").read()
