"""Bundles: a fitted detector, its limit and where it comes from, as files in which nothing can execute."""

import contextlib
import hashlib
import io
import secrets
import shutil
import tokenize
import zipfile
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.anomaly.bundle_places import (
    CARD,
    CURRENT,
    BundleDamaged,
    BundleMissing,
    drop_oldest,
    find_bundle,
    find_current,
    locate_machine,
    point_to,
    read_file,
    write_file,
)
from models.anomaly.calibration.promise import Promise
from models.anomaly.detectors import Detector
from models.anomaly.detectors.shelf import DETECTORS, restore_detector
from models.anomaly.features import Windows
from models.anomaly.grid import NS_PER_S
from models.anomaly.health import TagHealth, restore_health
from models.anomaly.limits import Limit
from models.anomaly.provenance import Origin, TagGrade
from models.anomaly.regimes import Regimes, restore_regimes
from models.anomaly.running import Running
from models.anomaly.signing import (
    Keys,
    KeyUnusable,
    SignatureWrong,
    SignerUnknown,
    is_keyless,
    locate_keys,
    sign,
    verify,
)
from models.telemetry import MachinePath

__all__ = [  # also what others know from here
    "CARD",
    "CURRENT",
    "Bundle",
    "BundleDamaged",
    "BundleForeign",
    "BundleMissing",
    "BundleUnsigned",
    "Card",
    "adopt_unsigned",
    "find_bundle",
    "find_current",
    "load_bundle",
    "load_current",
    "locate_machine",
    "pack_bundle",
    "point_to",
    "save_bundle",
    "sign_bundle",
    "unpack_bundle",
]

FORMAT = 2
UNSIGNED_FORMAT = 1
"""Of bundles from before signatures."""
ARRAYS, CHECKSUMS, SIGNATURE = "arrays.npz", "checksums.json", "signature.json"
BUNDLE_TROUBLES = (
    *(OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)
"""What numpy's reading of a foreign file was seen to end in: an empty one, a cut or packed one, a header that
is no Python literal or names no type, arrays that lack a name or have another shape. It stays a list, so that
a fault of ours in memory or names is not taken for a foul file."""


class BundleUnsigned(BundleDamaged):
    """Nobody vouches for the bundle: sign it by hand once it is known where it comes from."""


class BundleForeign(BundleDamaged):
    """The bundle was signed by a key that nobody has trusted here: trust the key, or train here."""


class Card(msgspec.Struct, frozen=True):
    """What a bundle is and where it comes from. `tags` in the order of the columns; spans in nanoseconds.

    `left_out` names tags that are not judged, with the reason. `rows` are the grid's rows learned from.
    `promise` says how many false alarms to expect of the limit; None in bundles that promise windows only.
    `running` says how the machine's ways of running are told apart, where that was asked for.
    `origin` and `grades` say what it was made of; `realised` is how many false alarms a month the rows held
    out of learning had with this limit, None in bundles of before.
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
    running: Running | None = None
    origin: Origin = Origin()
    grades: dict[str, TagGrade] = {}
    realised: float | None = None

    @property
    def columns(self) -> list[str]:
        """The columns of the grid that is judged: the tags, then those that only say how the machine runs."""
        return self.tags if self.running is None else [*self.tags, *self.running.signals]


class Bundle(msgspec.Struct, frozen=True):
    """All that judging a machine needs. `signer` names the key that vouches for a bundle that was loaded."""

    card: Card
    detector: Detector
    health: TagHealth
    signer: str = ""
    regimes: Regimes | None = None


class Packed(msgspec.Struct, frozen=True):
    """A bundle as the contents of its files, not signed yet: what travels between computers."""

    card: bytes
    arrays: bytes


def pack_bundle(bundle: Bundle) -> Packed:
    """Return the contents of a bundle's files."""
    arrays = io.BytesIO()
    beside = bundle.health.arrays() | (bundle.regimes.arrays() if bundle.regimes else {})
    np.savez(arrays, allow_pickle=False, **beside, **bundle.detector.arrays())
    return Packed(msgspec.json.format(msgspec.json.encode(bundle.card)), arrays.getvalue())


def save_bundle(root: Path, bundle: Bundle, keys: Keys | None = None) -> Path:
    """Write a bundle beside the machine's others, signed; make it the current one, and return its folder.

    Whoever reads at the same time sees the previous bundle or this one, never half of it. `keys` lie within
    `root` if not said; the first bundle of all makes one, which also signs those from before signatures.
    The oldest versions beyond `VERSIONS_MAX` go. Raises `KeyUnusable`.
    """
    keys = keys or locate_keys(root)
    adopt_unsigned(root, keys)
    home = locate_machine(root, MachinePath.parse(bundle.card.machine))
    home.mkdir(parents=True, exist_ok=True)
    stamp = datetime.fromtimestamp(bundle.card.trained_ns / NS_PER_S, UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    folder, draft = home / stamp, home / f".{stamp}-{secrets.token_hex(4)}"
    draft.mkdir()
    try:
        packed = pack_bundle(bundle)
        contents = {CARD: packed.card, ARRAYS: packed.arrays}
        sums = msgspec.json.encode({name: _hash(content) for name, content in contents.items()})
        for name, content in (contents | {CHECKSUMS: sums, SIGNATURE: sign(sums, keys)}).items():
            write_file(draft / name, content)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    point_to(home, stamp)
    drop_oldest(home, stamp)
    return folder


def adopt_unsigned(root: Path, keys: Keys) -> list[Path]:
    """Sign the bundles from before signatures, unless there are keys already; return them.

    Raises `KeyUnusable`.
    """
    found = list_unsigned(root) if is_keyless(keys) else []
    for folder in found:
        sign_bundle(folder, keys)
    return found


def list_unsigned(root: Path) -> list[Path]:
    """Return the whole bundles from before signatures, of all machines, that nobody has signed."""
    found = []
    for card in sorted(root.glob(f"*/*/{CARD}")):
        with contextlib.suppress(BundleDamaged, msgspec.DecodeError):
            contents, _ = _read_whole(card.parent)
            is_old = msgspec.json.decode(contents[CARD], type=Card).format == UNSIGNED_FORMAT
            if is_old and not (card.parent / SIGNATURE).exists():
                found.append(card.parent)
    return found


def sign_bundle(folder: Path, keys: Keys) -> None:
    """Vouch for a bundle as it lies there; raise `BundleDamaged` where it is not whole, or `KeyUnusable`."""
    _, sums = _read_whole(folder)
    draft = folder / f".{SIGNATURE}-{secrets.token_hex(4)}"
    write_file(draft, sign(sums, keys))
    draft.replace(folder / SIGNATURE)


def load_bundle(folder: Path, keys: Keys | None = None) -> Bundle:
    """Return the bundle in `folder`, its checksums and its signature verified.

    `keys` are those beside the machines' folders if not said. Raises `BundleDamaged` with the reason,
    `BundleUnsigned` and `BundleForeign` among it.
    """
    contents, sums = _read_whole(folder)
    try:
        card = msgspec.json.decode(contents[CARD], type=Card)
        if card.format not in (UNSIGNED_FORMAT, FORMAT) or card.detector not in DETECTORS:
            raise BundleDamaged(
                f"{folder}: format {card.format}, detector {card.detector!r}: not known here, train again"
            )
        signer = _verify(folder, card, sums, keys or locate_keys(folder.absolute().parent.parent))
        return unpack_bundle(Packed(contents[CARD], contents[ARRAYS]), signer)
    except (msgspec.DecodeError, *BUNDLE_TROUBLES) as error:
        raise BundleDamaged(f"{folder}: is no bundle of this version ({error}): train again") from error


def unpack_bundle(packed: Packed, signer: str = "") -> Bundle:
    """Return the bundle; raise one of `BUNDLE_TROUBLES` or `msgspec.DecodeError` where it is none."""
    card = msgspec.json.decode(packed.card, type=Card)
    with np.load(io.BytesIO(packed.arrays), allow_pickle=False) as opened:
        arrays: dict[str, NDArray[Any]] = {name: opened[name] for name in opened.files}
    regimes = restore_regimes(arrays)
    return Bundle(card, restore_detector(card.detector, arrays), restore_health(arrays), signer, regimes)


def _verify(folder: Path, card: Card, sums: bytes, keys: Keys) -> str:
    """Return who vouches for the bundle; nobody where it is from before signatures, and no key is here."""
    by_hand = (
        f"if you know where it comes from, sign it with `forewarn models sign {folder}`, else train again"
    )
    try:
        signature = read_file(folder / SIGNATURE)
    except FileNotFoundError as error:
        if card.format == UNSIGNED_FORMAT and is_keyless(keys):
            return ""
        raise BundleUnsigned(f"{folder}: nobody has signed it: {by_hand}") from error
    try:
        return verify(sums, signature, keys)
    except SignatureWrong as error:
        raise BundleDamaged(f"{folder}: {error}: it was changed after training: train again") from error
    except SignerUnknown as error:
        raise BundleForeign(
            f"{folder}: {error}: get that key's file from where the model was trained and run "
            f"`forewarn models keys trust FILE`, or train here"
        ) from error
    except KeyUnusable as error:
        raise BundleForeign(str(error)) from error
    except OSError as error:
        raise BundleForeign(
            f"{folder}: the trusted keys cannot be looked at ({error}): let the user that runs this read them"
        ) from error


def load_current(root: Path, machine: MachinePath, keys: Keys | None = None) -> Bundle:
    """Return the machine's current bundle; raise `BundleMissing` or `BundleDamaged`."""
    folder = find_current(root, machine)
    bundle = load_bundle(folder, keys)
    if bundle.card.machine != str(machine):
        raise BundleDamaged(f"{folder}: belongs to {bundle.card.machine}, not to {machine}: train again")
    return bundle


def _read_whole(folder: Path) -> tuple[dict[str, bytes], bytes]:
    """Return card and arrays, and the checksums that they keep to; raise `BundleDamaged`."""
    try:
        sums = read_file(folder / CHECKSUMS)
        wanted = msgspec.json.decode(sums, type=dict[str, str])
        contents = {name: read_file(folder / name) for name in (CARD, ARRAYS)}
    except (OSError, msgspec.DecodeError) as error:
        raise BundleDamaged(f"{folder}: cannot be read ({error}): train again") from error
    for name, content in contents.items():
        if wanted.get(name) != _hash(content):
            raise BundleDamaged(f"{folder / name}: was changed or cut after training (SHA-256): train again")
    return contents, sums


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
