"""Reads machines once, for a person who wants to see their values: no outbox, no broker."""

import asyncio
from collections.abc import Sequence
from difflib import get_close_matches

import msgspec

from edge.drivers import Driver, ExplainsTags, NotConnected
from edge.drivers.shelf import MachineSettings
from edge.drivers.tags import list_reported
from edge.settings import EdgeSettings
from models.errors import ForewarnError
from models.telemetry import Frame, Value, quality

CONNECT_TIMEOUT_S = 15.0
READ_TIMEOUT_S = 10.0
NEWS_S = 5.0


class UnknownMachine(ForewarnError):
    """The settings have no machine of that path: say one that they have."""

    exit_code = 3


class Reading(msgspec.Struct, frozen=True):
    """The newest value of one tag; `timestamp` is None where nothing came, and `reason` says why.

    `said` is the machine's own word on a tag that has no value.
    """

    machine: str
    tag: str
    unit: str
    value: Value = None
    quality: int = quality.BAD_WAITING_FOR_INITIAL_DATA
    timestamp: int | None = None
    reason: str = ""
    said: str = ""

    @property
    def is_good(self) -> bool:
        """Whether there is a value, and a good one."""
        return self.value is not None and quality.is_good(self.quality)


def pick_machines(settings: EdgeSettings, path: str | None) -> list[MachineSettings]:
    """Return all machines, or the one at `path`, whose end will do where it is of one machine only.

    Raises `UnknownMachine`.
    """
    if path is None:
        return list(settings.machines)
    known = {str(machine.path): machine for machine in settings.machines}
    ends = [one for one in known if one.endswith(f"/{path}")]
    if path not in known and len(ends) == 1:
        return [known[ends[0]]]
    if path not in known:
        near = get_close_matches(path, known, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Known here: {', '.join(sorted(known))}."
        raise UnknownMachine(f"the settings have no machine {path!r}. {hint}")
    return [known[path]]


async def read_machines(machines: Sequence[MachineSettings]) -> list[Reading]:
    """Return the newest value of every tag, machine by machine; they are read at the same time."""
    found = await asyncio.gather(*(_read_machine(machine) for machine in machines))
    return [reading for readings in found for reading in readings]


async def _read_machine(machine: MachineSettings) -> list[Reading]:
    path, units = str(machine.path), {tag.name: tag.unit for tag in list_reported(machine.tags)}
    driver = machine.build()
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await driver.connect()
        newest = await _read_newest(driver, set(units))
        said = explain_tags(driver)
    except (NotConnected, TimeoutError) as error:
        reason = str(error) or f"no answer within {CONNECT_TIMEOUT_S:g} s: check the address"
        silent = quality.BAD_NO_COMMUNICATION
        return [Reading(path, tag, unit, quality=silent, reason=reason) for tag, unit in units.items()]
    finally:
        await driver.close()
    readings = [Reading(path, tag, unit, *newest.get(tag, ())) for tag, unit in units.items()]
    return [msgspec.structs.replace(one, said=said.get(one.tag, "")) for one in readings]


async def _read_newest(driver: Driver, tags: set[str]) -> dict[str, tuple[Value, int, int]]:
    """Return (value, quality, timestamp) of each tag: of one poll, or of a subscription's first news."""
    newest: dict[str, tuple[Value, int, int]] = {}
    if driver.interval_s is not None:
        async with asyncio.timeout(READ_TIMEOUT_S):
            keep_newest(newest, await driver.read())
        rounds_left = round(NEWS_S)
        while tags - newest.keys() and rounds_left:  # features of waveforms take their time
            rounds_left -= 1
            await asyncio.sleep(min(1.0, driver.interval_s))
            async with asyncio.timeout(READ_TIMEOUT_S):
                keep_newest(newest, await driver.read())
        return newest
    try:
        async with asyncio.timeout(NEWS_S):
            while tags - newest.keys():
                keep_newest(newest, await driver.read())
    except TimeoutError:
        pass  # what did not come in time is shown as waiting for its first value
    return newest


def explain_tags(driver: Driver) -> dict[str, str]:
    """Return the machine's own word on tags that have no value, where the driver knows it."""
    return driver.explain_tags() if isinstance(driver, ExplainsTags) else {}


def keep_newest(newest: dict[str, tuple[Value, int, int]], frames: list[Frame]) -> None:
    """Put the last row of each frame's tags into `newest`: value, status code, timestamp."""
    for frame in frames:
        row = len(frame.timestamps) - 1
        for tag, column in frame.values.items():
            unknown = quality.BAD if column[row] is None else quality.GOOD
            code = frame.quality.get(tag, {}).get(row, unknown)
            newest[tag] = (column[row], code, frame.timestamps[row])
