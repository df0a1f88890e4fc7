"""Bundles: a fitted detector, its limit and where it comes from, as files in which nothing can execute."""

import hashlib
import io
import os
import secrets
import shutil
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.anomaly.calibration.promise import Promise
from models.anomaly.detectors import Detector
from models.anomaly.detectors.shelf import DETECTORS, restore_detector
from models.anomaly.features import Windows
from models.anomaly.grid import NS_PER_S
from models.anomaly.health import TagHealth
from models.anomaly.limits import Limit
from models.errors import ForewarnError
from models.telemetry import MachinePath

FORMAT = 1
CARD, ARRAYS, CHECKSUMS, CURRENT = "card.json", "arrays.npz", "checksums.json", "current"
FILE_BYTES_MAX = 256 * 1024 * 1024
BUNDLE_TROUBLES = (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile)
"""What reading arrays from a damaged or foreign file can end in."""


class BundleMissing(ForewarnError):
    """No bundle is there: the machine is learning until somebody trains it."""


class BundleDamaged(ForewarnError):
    """The bundle cannot be believed: keep the previous one in charge and train again."""


class Card(msgspec.Struct, frozen=True):
    """What a bundle is and where it comes from. `tags` in the order of the columns; spans in nanoseconds.

    `left_out` names tags that are not judged, with the reason. `rows` are the grid's rows learned from.
    `promise` says how many false alarms to expect of the limit; None in bundles that promise windows only.
    """

    format: int
    machine: str
    detector: str
    tags: list[str]
    left_out: dict[str, str]
    grid_s: float
    windows: Windows
    first_ns: int
    last_ns: int
    trained_ns: int
    rows: int
    limit: Limit
    seed: int
    versions: dict[str, str]
    training_sha256: str
    promise: Promise | None = None


class Bundle(msgspec.Struct, frozen=True):
    """All that judging a machine needs."""

    card: Card
    detector: Detector
    health: TagHealth


def locate_machine(root: Path, machine: MachinePath) -> Path:
    """Return the folder of a machine's bundles. A dot parts the segments: no segment can hold one."""
    return root / ".".join((machine.site, machine.area, machine.line, machine.machine))


def save_bundle(root: Path, bundle: Bundle) -> Path:
    """Write a bundle beside the machine's others, make it the current one, and return its folder.

    Whoever reads at the same time sees the previous bundle or this one, never half of it.
    """
    home = locate_machine(root, MachinePath.parse(bundle.card.machine))
    home.mkdir(parents=True, exist_ok=True)
    stamp = datetime.fromtimestamp(bundle.card.trained_ns / NS_PER_S, UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    folder, draft = home / stamp, home / f".{stamp}-{secrets.token_hex(4)}"
    draft.mkdir()
    try:
        contents = {CARD: msgspec.json.format(msgspec.json.encode(bundle.card)), ARRAYS: _pack(bundle)}
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        for name, content in (contents | {CHECKSUMS: msgspec.json.encode(sums)}).items():
            _write(draft / name, content)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    pointer = home / f".{CURRENT}-{secrets.token_hex(4)}"
    _write(pointer, f"{stamp}\n".encode())
    pointer.replace(home / CURRENT)
    return folder


def find_bundle(place: Path) -> Path:
    """Return the bundle meant by `place`: a bundle, a machine's folder, or a root with one machine."""
    if (place / CARD).is_file():
        return place
    within = [pointer.parent for pointer in place.glob(f"*/{CURRENT}")]
    homes = [place] if (place / CURRENT).is_file() else within
    if len(homes) != 1:
        names = ", ".join(sorted(home.name for home in homes)) or "none"
        raise BundleMissing(f"{place}: name one bundle; the machines with a bundle there are: {names}")
    return _follow_pointer(homes[0])


def find_current(root: Path, machine: MachinePath) -> Path:
    """Return the folder of the machine's current bundle; raise `BundleMissing` or `BundleDamaged`."""
    home = locate_machine(root, machine)
    try:
        return _follow_pointer(home)
    except FileNotFoundError as error:
        raise BundleMissing(
            f"{machine} has no model yet: train one with `forewarn cloud train --machine {machine}`"
        ) from error


def _follow_pointer(home: Path) -> Path:
    try:
        name = (home / CURRENT).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise BundleDamaged(f"{home / CURRENT}: cannot be read ({error})") from error
    if not name or name != Path(name).name or name.startswith("."):
        raise BundleDamaged(f"{home / CURRENT}: names no bundle ({name[:80]!r})")
    return home / name


def load_bundle(folder: Path) -> Bundle:
    """Return the bundle in `folder`, its checksums verified; raise `BundleDamaged` with the reason."""
    try:
        sums = msgspec.json.decode(_read(folder / CHECKSUMS), type=dict[str, str])
        contents = {name: _read(folder / name) for name in (CARD, ARRAYS)}
    except (OSError, msgspec.DecodeError) as error:
        raise BundleDamaged(f"{folder}: cannot be read ({error}): train again") from error
    for name, content in contents.items():
        if sums.get(name) != hashlib.sha256(content).hexdigest():
            raise BundleDamaged(f"{folder / name}: was changed or cut after training (SHA-256): train again")
    try:
        card = msgspec.json.decode(contents[CARD], type=Card)
        if card.format != FORMAT or card.detector not in DETECTORS:
            raise BundleDamaged(
                f"{folder}: format {card.format}, detector {card.detector!r}: not known here, train again"
            )
        arrays = _unpack(contents[ARRAYS])
        health = TagHealth(arrays.pop("health.still_rows"))
        return Bundle(card, restore_detector(card.detector, arrays), health)
    except (msgspec.DecodeError, *BUNDLE_TROUBLES) as error:
        raise BundleDamaged(f"{folder}: is no bundle of this version ({error}): train again") from error


def load_current(root: Path, machine: MachinePath) -> Bundle:
    """Return the machine's current bundle; raise `BundleMissing` or `BundleDamaged`."""
    folder = find_current(root, machine)
    bundle = load_bundle(folder)
    if bundle.card.machine != str(machine):
        raise BundleDamaged(f"{folder}: belongs to {bundle.card.machine}, not to {machine}: train again")
    return bundle


def _pack(bundle: Bundle) -> bytes:
    packed = io.BytesIO()
    health = {"health.still_rows": bundle.health.still_rows}
    np.savez_compressed(packed, allow_pickle=False, **health, **bundle.detector.arrays())
    return packed.getvalue()


def _unpack(content: bytes) -> dict[str, NDArray[Any]]:
    with np.load(io.BytesIO(content), allow_pickle=False) as packed:
        return {name: packed[name] for name in packed.files}


def _read(path: Path) -> bytes:
    if path.stat().st_size > FILE_BYTES_MAX:
        raise OSError(f"{path.name} is larger than {FILE_BYTES_MAX} bytes")
    return path.read_bytes()


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
