"""Where bundles lie: a folder per machine, one per version in it, and a pointer to the one in charge."""

import os
import secrets
import shutil
from pathlib import Path

from models.errors import ForewarnError
from models.telemetry import MachinePath

CARD, CURRENT, RETIRED = "card.json", "current", "retired"
FILE_BYTES_MAX = 256 * 1024 * 1024
VERSIONS_MAX = 60
"""Of one machine: more than a year of weekly refits."""


class BundleMissing(ForewarnError):
    """No bundle is there: the machine is learning until somebody trains it."""


class BundleDamaged(ForewarnError):
    """The bundle cannot be believed: keep the previous one in charge and train again."""


def locate_machine(root: Path, machine: MachinePath) -> Path:
    """Return the folder of a machine's bundles. A dot parts the segments: no segment can hold one."""
    return root / ".".join((machine.site, machine.area, machine.line, machine.machine))


def point_to(home: Path, name: str) -> None:
    """Change what is current at once: whoever reads at the same time sees the old version or the new."""
    pointer = home / f".{CURRENT}-{secrets.token_hex(4)}"
    write_file(pointer, f"{name}\n".encode())
    pointer.replace(home / CURRENT)
    (home / RETIRED).unlink(missing_ok=True)


def drop_oldest(home: Path, current: str) -> None:
    """Delete the oldest versions beyond `VERSIONS_MAX`, never the one in charge."""
    others = sorted(one for one in home.glob("[!.]*") if one.is_dir() and one.name != current)
    for folder in others[: max(0, len(others) + 1 - VERSIONS_MAX)]:
        # Out of sight at once: nobody shall find half a version.
        grave = folder.rename(home / f".{folder.name}-{secrets.token_hex(4)}")
        shutil.rmtree(grave, ignore_errors=True)


def retire_machine(home: Path) -> bool:
    """Let none be current, on purpose: the versions stay. Return whether one was."""
    if not (home / CURRENT).is_file():
        return False
    (home / RETIRED).touch()
    (home / CURRENT).unlink()
    return True


def is_retired(root: Path, machine: MachinePath) -> bool:
    """Return whether a machine is without a current bundle because somebody said so."""
    return (locate_machine(root, machine) / RETIRED).is_file()


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


def read_file(path: Path) -> bytes:
    """Return what a file of a bundle holds; raise `OSError`."""
    if path.stat().st_size > FILE_BYTES_MAX:
        raise OSError(f"{path.name} is larger than {FILE_BYTES_MAX} bytes")
    return path.read_bytes()


def write_file(path: Path, content: bytes) -> None:
    """Write a new file, on the disk when this returns; raise `OSError`."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
