"""The settings file of the edge commands: read, or what to do where there is none yet."""

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.errors import ForewarnError

if TYPE_CHECKING:
    from edge.settings import EdgeSettings

USUAL = "edge.yaml"

SettingsFile = Annotated[Path, typer.Argument(metavar="FILE", help="the settings, edge.yaml")]


class NoSettings(ForewarnError):
    """There is no settings file to read: make one, or name the right one."""

    exit_code = 3


def load_edge(file: Path) -> "EdgeSettings":
    """Return the settings in `file`; raise `NoSettings`, or `SettingsError` with every mistake."""
    from edge.settings import EdgeSettings
    from models.settings import load_settings

    if file.is_dir():
        inside = sorted(one.name for one in file.glob("*.yaml"))
        named = f" (there: {', '.join(inside[:10])})" if inside else ""
        raise NoSettings(f"{file}: is a folder: name the settings file in it{named}")
    if not file.exists():
        near = get_close_matches(file.name, [one.name for one in file.absolute().parent.glob("*")], n=1)
        hint = f"did you mean {file.with_name(near[0])}?" if near else explain_first_file()
        raise NoSettings(f"{file}: there is no such file: {hint}")
    if file.is_file() and not file.stat().st_size:
        raise NoSettings(f"{file}: is empty: {explain_first_file()}")
    return load_settings(file, EdgeSettings)


def choose_file(*named: Path | None) -> Path:
    """Return the file that was named, else the usual one of this folder; raise `NoSettings`."""
    for file in named:
        if file is not None:
            return file
    if Path(USUAL).is_file():
        return Path(USUAL)
    raise NoSettings(
        f"which settings? There is no {USUAL} in this folder: say --config FILE, or {explain_first_file()}"
    )


def explain_first_file() -> str:
    """Return how a person comes to a first settings file."""
    from forewarn.places import find_configuration

    return (
        f"begin with a copy of the commented example (cp {find_configuration(USUAL)} {USUAL}), or let an "
        "OPC UA server write its machines (forewarn edge browse URL --yaml FILE)"
    )
