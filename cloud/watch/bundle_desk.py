"""Which bundle judges a machine: a new one takes charge when it is good, else the previous one stays."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import structlog

from cloud.watch.versions import read_card
from cloud.watch.watched import WatchedMachine
from cloud.watch.watching import WatchSettings
from models.anomaly.bundle import (
    Bundle,
    BundleDamaged,
    BundleMissing,
    find_current,
    load_bundle,
    load_current,
)
from models.anomaly.bundle_places import is_retired, locate_machine
from models.telemetry import MachinePath

PREVIOUS_MAX = 5
"""So many versions before a refused one are tried, each the parent of the next."""

log = structlog.get_logger()


class BundleDesk:
    """Looks for machines' newest bundles. `tell` takes why one cannot take charge, or "" once one could."""

    def __init__(
        self, bundles: Path, settings: WatchSettings, tell: Callable[[MachinePath, str], None]
    ) -> None:
        self._bundles = bundles
        self._settings = settings
        self._tell = tell
        self._tried: dict[MachinePath, Path] = {}
        self._refused: dict[MachinePath, tuple[int, ...]] = {}
        self._retired: set[MachinePath] = set()
        self._in_charge: dict[MachinePath, str] = {}

    def find_new(self, machine: WatchedMachine) -> Bundle | None:
        """Return the bundle that is to take charge of the machine now; None when all stays as it is."""
        path = machine.machine
        try:
            folder = find_current(self._bundles, path)
        except BundleMissing:
            self._miss(machine)
            return None
        except BundleDamaged as error:
            self._tried.pop(path, None)  # whichever the mended pointer names is looked at
            self._refuse(machine, str(error))
            return None
        self._retired.discard(path)
        if self._tried.get(path) == folder and not self._was_mended(path, folder):
            return None
        self._tried[path], self._refused[path] = folder, self._stamp(folder)
        try:
            bundle = load_current(self._bundles, path, self._settings.locate_keys(self._bundles))
        except BundleDamaged as error:
            self._refuse(machine, str(error))
            return self._find_previous(path, folder) if machine.bundle is None else None
        del self._refused[path]
        machine.trouble, self._in_charge[path] = "", folder.name
        self._tell(path, "")
        if not bundle.signer:
            log.warning("bundle_unsigned", machine=str(path), mend=f"forewarn models sign {folder}")
        return bundle

    def _find_previous(self, path: MachinePath, refused: Path) -> Bundle | None:
        """Return the version that was in charge when the refused one was trained, or that one's.

        After a restart it is in no memory. A model from before a repair is nobody's parent.
        """
        folder = refused
        for _ in range(PREVIOUS_MAX):
            name = _name_parent(folder)
            if not name:
                break
            folder = folder.with_name(name)
            with contextlib.suppress(BundleDamaged):
                bundle = load_bundle(folder, self._settings.locate_keys(self._bundles))
                if bundle.card.machine == str(path):
                    self._in_charge[path] = folder.name
                    return bundle
        return None

    def name_in_charge(self, machine: MachinePath) -> str:
        """Return the version that `find_new` gave last; "" of none."""
        return self._in_charge.get(machine, "")

    def _was_mended(self, machine: MachinePath, folder: Path) -> bool:
        """Return whether a refused bundle's files, or the trusted keys, have changed since it was tried."""
        return machine in self._refused and self._refused[machine] != self._stamp(folder)

    def _stamp(self, folder: Path) -> tuple[int, ...]:
        files = [*sorted(folder.glob("*")), self._settings.locate_keys(self._bundles).trusted]
        return tuple(_date(file) for file in files)

    def _miss(self, machine: WatchedMachine) -> None:
        """Let a machine learn anew after a reset; a model that merely vanished goes on from memory."""
        path = machine.machine
        self._tried.pop(path, None)
        if is_retired(self._bundles, path):
            if path not in self._retired:
                self._retired.add(path)
                machine.forget()
                # Also of one that was refused, perhaps before a restart: nobody waits for it any more.
                self._tell(path, "")
                log.info("bundle_retired", machine=str(path))
        elif machine.bundle is not None:
            home = locate_machine(self._bundles, path)
            self._refuse(
                machine, f"{home}: no model is in charge there any more: put it back, or train again"
            )

    def _refuse(self, machine: WatchedMachine, trouble: str) -> None:
        if machine.trouble != trouble:
            machine.trouble = trouble
            log.warning("bundle_refused", machine=str(machine.machine), reason=trouble)
            self._tell(machine.machine, trouble)


def _name_parent(folder: Path) -> str:
    """Return the version that was in charge when this one was trained, "" where there was none."""
    card = read_card(folder)
    name = "" if card is None else card.origin.parent
    return "" if name.startswith(".") or name != Path(name).name else name


def _date(file: Path) -> int:
    """Return when a file changed last, 0 of one that is gone or may not be looked at."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0
