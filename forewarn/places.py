"""Finds the configuration files that come with Forewarn, in a checkout and in an installed wheel."""

from pathlib import Path

from models.errors import ForewarnError


class NotInstalled(ForewarnError):
    """A file that belongs to Forewarn is not where it should be."""


def find_configuration(name: str) -> Path:
    """Return the path of `configs/NAME`; raise `NotInstalled`."""
    package = Path(__file__).parent
    for folder in (package.parent / "configs", package / "configs"):
        if (folder / name).is_file():
            return folder / name
    raise NotInstalled(f"configs/{name} is not part of this installation: install Forewarn anew")
