"""The versions of a machine's model: which there are, which is in charge, a fresh start after a repair."""

from pathlib import Path

import msgspec
from sqlalchemy import BigInteger, Column, Engine, String, Table, select

from cloud.records import metadata
from cloud.transactions import begin_read, begin_write, insert_into
from models.anomaly.bundle import (
    CARD,
    BundleDamaged,
    BundleMissing,
    Card,
    find_current,
    load_bundle,
    locate_machine,
    point_to,
)
from models.anomaly.bundle_places import retire_machine
from models.anomaly.signing import Keys
from models.errors import ForewarnError
from models.telemetry import MachinePath

fresh_start = Table(
    "fresh_start",
    metadata,
    Column("machine", String(260), primary_key=True),
    Column("since_ns", BigInteger, nullable=False),
)


class VersionRefused(ForewarnError):
    """This version cannot take charge; the message says why, and which there are."""


class Version(msgspec.Struct, frozen=True):
    """One bundle of a machine: `card` is None where it cannot be read, `trouble` says why."""

    name: str
    folder: Path
    is_current: bool
    card: Card | None
    trouble: str = ""


def list_versions(root: Path, machine: MachinePath) -> list[Version]:
    """Return the bundles of a machine, the oldest first; their names are the times of their training."""
    home = locate_machine(root, machine)
    try:
        current = find_current(root, machine).name
    except (BundleMissing, BundleDamaged):
        current = ""
    folders = sorted(folder for folder in home.glob("[!.]*") if folder.is_dir())
    return [_read_version(folder, folder.name == current) for folder in folders]


def _read_version(folder: Path, is_current: bool) -> Version:
    try:
        card = msgspec.json.decode((folder / CARD).read_bytes(), type=Card)
    except (OSError, msgspec.DecodeError) as error:
        return Version(folder.name, folder, is_current, None, f"cannot be read ({error})")
    return Version(folder.name, folder, is_current, card)


def read_card(folder: Path) -> Card | None:
    """Return the card of a bundle without its arrays, None where it cannot be read."""
    return _read_version(folder, is_current=True).card


def promote(root: Path, machine: MachinePath, name: str, keys: Keys | None = None) -> Version:
    """Put the version `name` in charge, verified before; raise `VersionRefused`."""
    versions = list_versions(root, machine)
    chosen = next((one for one in versions if one.name == name), None)
    if chosen is None:
        there = ", ".join(one.name for one in versions) or "none"
        raise VersionRefused(f"{machine} has no version {name!r}: there are {there}")
    try:
        bundle = load_bundle(chosen.folder, keys)
    except BundleDamaged as error:
        raise VersionRefused(f"{name} stays out of charge: {error}") from error
    if bundle.card.machine != str(machine):
        raise VersionRefused(f"{name} stays out of charge: it belongs to {bundle.card.machine}")
    point_to(locate_machine(root, machine), name)
    return chosen


def roll_back(root: Path, machine: MachinePath, keys: Keys | None = None) -> Version:
    """Put the version before the current one in charge; raise `VersionRefused` when there is none."""
    versions = list_versions(root, machine)
    place = next((place for place, one in enumerate(versions) if one.is_current), None)
    if place is None:
        raise VersionRefused(f"{machine} has no model in charge: name one with `forewarn models promote`")
    if place == 0:
        raise VersionRefused(f"{machine} has no older version than {versions[0].name}")
    return promote(root, machine, versions[place - 1].name, keys)


def retire(root: Path, machine: MachinePath) -> bool:
    """Let no version be in charge: the machine learns anew. Return whether one was; all versions are kept."""
    return retire_machine(locate_machine(root, machine))


class FreshStarts:
    """From when on the values of repaired machines count; every call raises `RecordsUnavailable`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def put(self, machine: MachinePath, since_ns: int) -> None:
        """Let only values from `since_ns` on teach the machine's next models."""
        row = {"machine": str(machine), "since_ns": since_ns}
        with begin_write(self._engine) as connection:
            statement = insert_into(connection, fresh_start).values(**row)
            connection.execute(statement.on_conflict_do_update(index_elements=["machine"], set_=row))

    def list(self) -> dict[str, int]:
        """Return since when, by the machine's path."""
        with begin_read(self._engine) as connection:
            return {row.machine: row.since_ns for row in connection.execute(select(fresh_start))}
