"""What the documents show is true: settings load, commands and options exist, links lead somewhere."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from ruamel.yaml import YAML

from cloud.alerts.advice import MachineType
from cloud.settings import CloudSettings
from edge.settings import EdgeSettings
from edge.simulator.plant import PlantSettings
from forewarn.cli import app
from models.settings import Settings, load_settings

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = [
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "--", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    if (ROOT / name).is_file()
]
SETTINGS_FILES = [
    file
    for folder in ("configs", "configs/compose", "configs/demo", "configs/machine-types")
    for file in sorted((ROOT / folder).glob("*.yaml"))
]
SHELLS = ("sh", "bash", "console", "shell")
COMPLETIONS: dict[type[Settings], dict[str, str]] = {
    EdgeSettings: {"gateway": "gateway: pi-01\n"},
    CloudSettings: {
        "records": "records: {path: records.sqlite}\n",
        "store": "store: {kind: embedded, path: store.sqlite}\n",
    },
}
"""A block may show a part of a file: these lines stand in for what it leaves out."""


class Block(NamedTuple):
    """A fenced block of a document."""

    document: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT).as_posix()}:{self.line}"


def list_blocks(document: Path) -> Iterator[Block]:
    """Find the fenced blocks of a document."""
    opened: tuple[int, str, str] | None = None
    inside: list[str] = []
    for number, line in enumerate(document.read_text().splitlines(), 1):
        fence = re.match(r"^(\s*)```(\w*)", line)
        if fence and opened is None:
            opened, inside = (number, fence[2], fence[1]), []
        elif fence and opened is not None:
            yield Block(document, opened[0], opened[1], "\n".join(inside) + "\n")
            opened = None
        elif opened is not None:
            inside.append(line.removeprefix(opened[2]))
    assert opened is None, f"{document}: the block of line {opened} is never closed"


BLOCKS = [block for document in DOCUMENTS for block in list_blocks(document)]


def choose_kind(document: Any) -> type[Settings]:
    """Return the settings class that a file with these keys is for."""
    machines = document.get("machines") or [{}]
    if "gateway" in document or "kind" in machines[0]:
        return EdgeSettings
    if {"time_scale", "faults"} & set(document) or "protocol" in machines[0]:
        return PlantSettings
    return MachineType if "otherwise" in document else CloudSettings


def load_text(text: str, folder: Path) -> Settings:
    """Load settings as a user would, from a file; raise `SettingsError`."""
    shown = YAML().load(text)
    kind = choose_kind(shown)
    missing = [line for key, line in COMPLETIONS.get(kind, {}).items() if key not in shown]
    file = folder / "shown.yaml"
    file.write_text(text + "".join(missing), encoding="utf-8")
    return load_settings(file, kind)


@pytest.mark.parametrize("block", [one for one in BLOCKS if one.language in ("yaml", "yml")], ids=str)
def test_settings_in_a_document_load(block: Block, tmp_path: Path) -> None:
    """Every YAML block is accepted by the class that it is for."""
    load_text(block.text, tmp_path)


@pytest.mark.parametrize("file", SETTINGS_FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_settings_files_load(file: Path) -> None:
    """Every settings file of the repository is whole and right."""
    load_settings(file, choose_kind(YAML().load(file.read_text())))


@pytest.mark.parametrize("name", ["edge.yaml", "cloud.yaml"])
def test_what_the_reference_files_comment_out_is_right_too(name: str, tmp_path: Path) -> None:
    """A key that stands in a comment of a reference file can be uncommented where it stands."""
    text = (ROOT / "configs" / name).read_text()
    shown = re.sub(r"^( *)# ((?: *- )? *[a-z_]+:(?= |$).*)$", r"\1\2", text, flags=re.MULTILINE)
    assert shown != text
    known = {key for kind in list_kinds(Settings) for key in kind.model_fields}
    said = set(re.findall(r"^ *(?:- )?([a-z_]+):", shown, flags=re.MULTILINE))
    assert said - known <= {"bearing_temperature"}  # a tag's name


@pytest.mark.parametrize("file", SETTINGS_FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_commands_in_a_settings_file_exist(file: Path) -> None:
    """The commands in the comments are what the program takes; two blanks part them from their words."""
    for line in re.findall(r"(?:^# *|  )forewarn (\S.*?)(?:\s{2,}|$)", file.read_text(), flags=re.MULTILINE):
        parse(shlex.split(line))


def list_kinds(root: type[Settings]) -> list[type[Settings]]:
    """Return a settings class and all that derive from it."""
    return [root, *(kind for child in root.__subclasses__() for kind in list_kinds(child))]


def list_commands(text: str) -> Iterator[list[str]]:
    """Find the `forewarn ...` commands of a shell block, as lists of words."""
    for line in text.replace("\\\n", " ").splitlines():
        for part in re.split(r"&&|;|\|", line):
            words = shlex.split(part.strip().removeprefix("$ "), comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words.pop(0)
            if words and Path(words[0]).name == "forewarn":
                yield words[1:]


def parse(words: list[str]) -> None:
    """Read a command line as the program would, without running it; raise what typer raises."""
    command: Any = typer.main.get_command(app)
    words = [word for word in words if word != "--debug"]
    path = ["forewarn"]
    while hasattr(command, "commands") and words and words[0] != "--help":
        assert words[0] in command.commands, f"{' '.join([*path, words[0]])} is no command"
        path.append(words[0])
        command = command.commands[words.pop(0)]
    if words != ["--help"]:
        command.make_context(" ".join(path), words)


@pytest.mark.parametrize("block", [one for one in BLOCKS if one.language in SHELLS], ids=str)
def test_commands_in_a_document_exist(block: Block) -> None:
    """Every `forewarn` line of a shell block is a command line that the program takes."""
    for words in list_commands(block.text):
        parse(words)


def test_a_wrong_command_line_would_be_found() -> None:
    """The check above knows commands, options, and what is missing."""
    for line in ("edge chek edge.yaml", "edge check", "cloud run --config c.yaml --quiet"):
        with pytest.raises((AssertionError, Exception), match=r"no command|[Mm]issing|[Nn]o such option"):
            parse(line.split())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.relative_to(ROOT).as_posix())
def test_what_a_document_names_exists(document: Path) -> None:
    """Relative links lead to files, `make X` is a target, `forewarn X` in a sentence is a command."""
    text = document.read_text()
    prose = re.sub(r"^\s*```.*?^\s*```", "", text, flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", prose)
    assert [link for link in links if not (document.parent / link).exists()] == []
    code = "\n".join([*re.findall(r"`([^`\n]+)`", prose), *(block.text for block in list_blocks(document))])
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert set(re.findall(r"\bmake ([a-z][a-z-]*)", code)) <= set(targets)
    for said in re.findall(r"`forewarn ([^`\n]+)`", prose):
        find_command(said.split())


def find_command(words: list[str]) -> None:
    """Assert that words of a sentence such as `cloud train --all` begin with a command and its options."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands") and words and re.fullmatch(r"[a-z-]+", words[0]):
        assert words[0] in command.commands, f"{words[0]} is no command"
        command = command.commands[words.pop(0)]
    options = {name for parameter in command.params for name in parameter.opts}
    said = {word.partition("=")[0].strip("[]") for word in words if word.strip("[").startswith("--")}
    assert said <= options | {"--debug", "--help"}
