"""Takes changed settings over while the gateway runs: only the machines that changed begin anew."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import structlog

from edge.chores import Chores
from edge.drivers.shelf import MachineSettings
from edge.settings import EdgeSettings
from models.errors import ForewarnError
from models.link import check_credentials
from models.settings import load_settings, read_secrets
from models.telemetry import MachinePath

LOOK_S = 2.0
SETTLE_S = 0.5
"""An editor writes in several steps: a file is read when it has not changed for so long."""

Stamp = tuple[int, int, int]
log = structlog.get_logger()


class ReloadPlan(msgspec.Struct, frozen=True):
    """What new settings ask for: end these machines, begin those. `restart_keys` wait for a restart."""

    ended: list[MachinePath]
    begun: list[MachineSettings]
    kept: int
    restart_keys: list[str]


def plan_reload(old: EdgeSettings, new: EdgeSettings) -> ReloadPlan:
    """Compare settings; a machine that changed in anything ends and begins anew."""
    before = {machine.path: machine for machine in old.machines}
    after = {machine.path: machine for machine in new.machines}
    begun = [machine for path, machine in after.items() if before.get(path) != machine]
    return ReloadPlan(
        ended=[path for path, machine in before.items() if after.get(path) != machine],
        begun=begun,
        kept=len(after) - len(begun),
        restart_keys=[
            name
            for name in EdgeSettings.model_fields
            if name != "machines" and getattr(old, name) != getattr(new, name)
        ],
    )


class SettingsWatch:
    """Looks at the settings file; `apply` gets what stands in it when that has changed and is right."""

    def __init__(
        self, file: Path, apply: Callable[[EdgeSettings], Awaitable[None]], chores: Chores | None = None
    ) -> None:
        self._chores = chores or Chores()
        self._is_asked = False
        self._file = file
        self._apply = apply
        self._seen = _stamp(file)

    def ask(self) -> None:
        """Have the file read now, changed or not (SIGHUP)."""
        self._is_asked = True
        self._chores.hurry()

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self._chores.pause(LOOK_S)
            if self._is_asked or _stamp(self._file) not in (self._seen, None):
                await self._settle()
                self._is_asked = False
                await self._reload()

    async def _settle(self) -> None:
        stamp = _stamp(self._file)
        while True:
            await asyncio.sleep(SETTLE_S)
            stamp, before = _stamp(self._file), stamp
            if stamp == before:
                self._seen = stamp
                return

    async def _reload(self) -> None:
        try:
            # In a thread: a file of thousands of tags takes seconds, and the machines are read meanwhile.
            settings = await asyncio.to_thread(_load, self._file)
            await self._apply(settings)
        except ForewarnError as error:
            log.error(
                "settings_refused",
                reason=str(error),
                keeping="the gateway goes on with the settings from before",
            )


def _load(file: Path) -> EdgeSettings:
    settings = load_settings(file, EdgeSettings)
    read_secrets(settings)
    for broker in settings.brokers:
        check_credentials(broker)
    return settings


def _stamp(file: Path) -> Stamp | None:
    """Return what changes when a file is written or replaced; None while it is not there."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
