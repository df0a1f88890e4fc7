"""Finds out which side a settings file is for, and checks what it leads to."""

from pathlib import Path
from typing import TYPE_CHECKING

from forewarn.doctor.computer import list_missing
from forewarn.doctor.findings import Finding
from models.settings import SettingsError, load_settings, read_secrets

if TYPE_CHECKING:
    from cloud.settings import CloudSettings
    from edge.settings import EdgeSettings


def check_settings(file: Path) -> list[Finding]:
    """Return what is to be said of a settings file and of everything that it names."""
    loaded = load_either(file)
    if isinstance(loaded, list):
        return loaded
    findings = [Finding("ok", "settings", str(file))]
    try:
        read_secrets(loaded)
    except SettingsError as error:
        findings += [Finding("fail", "secrets", line) for line in str(error).splitlines()]
    return findings + _check_side(loaded)


def _check_side(loaded: "EdgeSettings | CloudSettings") -> list[Finding]:
    # Each side's libraries are imported only where that side's settings have loaded with them.
    if not list_missing("edge"):
        from edge.settings import EdgeSettings
        from forewarn.doctor.edge import check_edge

        if isinstance(loaded, EdgeSettings):
            return check_edge(loaded)
    from cloud.settings import CloudSettings
    from forewarn.doctor.cloud import check_cloud

    assert isinstance(loaded, CloudSettings)
    return check_cloud(loaded)


def load_either(file: Path) -> "EdgeSettings | CloudSettings | list[Finding]":
    """Return the settings as those of the side they fit, or the mistakes as the side with fewer sees them."""
    mistakes: list[list[str]] = []
    if not list_missing("edge"):
        from edge.settings import EdgeSettings

        try:
            return load_settings(file, EdgeSettings)
        except SettingsError as error:
            mistakes.append(str(error).splitlines())
    if not list_missing("cloud"):
        from cloud.settings import CloudSettings

        try:
            return load_settings(file, CloudSettings)
        except SettingsError as error:
            mistakes.append(str(error).splitlines())
    fewest = min(mistakes, key=len, default=["the libraries for it are not installed"])
    return [Finding("fail", "settings", line) for line in fewest]
