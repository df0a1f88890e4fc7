"""Checks what edge.yaml leads to: broker, room for the outbox, machines and their tags."""

import asyncio
from collections.abc import Sequence

from edge.commands.reading import Reading, read_machines
from edge.settings import EdgeSettings, OutboxSettings
from forewarn.doctor.broker import check_broker
from forewarn.doctor.computer import check_disk
from forewarn.doctor.findings import Finding
from models.telemetry import quality


def check_edge(settings: EdgeSettings) -> list[Finding]:
    """Return what is to be said of everything that the edge agent needs."""
    readings = asyncio.run(read_machines(settings.machines))
    of_machine = {
        str(machine.path): [one for one in readings if one.machine == str(machine.path)]
        for machine in settings.machines
    }
    return [
        *(check_broker(settings.broker) if settings.broker in settings.brokers else []),
        *_check_sparkplug(settings),
        check_outbox(settings.outbox),
        *(judge_machine(path, found) for path, found in of_machine.items()),
    ]


def _check_sparkplug(settings: EdgeSettings) -> list[Finding]:
    other = settings.sparkplug.broker if settings.publish == "sparkplug" else None
    return [] if other is None else check_broker(other, "sparkplug broker")


def check_outbox(settings: OutboxSettings) -> Finding:
    """Say whether the disk has room for all that the outbox may take."""
    folder = settings.path.parent
    if not folder.is_dir():
        return Finding("fail", "outbox", f"there is no folder {folder}: make it, or correct outbox.path")
    used = settings.path.stat().st_size if settings.path.is_file() else 0
    return check_disk(folder, max(0, settings.bytes_max - used))._replace(what="outbox")


def judge_machine(path: str, readings: Sequence[Reading]) -> Finding:
    """Say how a machine answered: not at all, not every tag, or well."""
    silent = next((one.reason for one in readings if one.reason), "")
    if silent:
        return Finding("fail", path, silent)
    bad = [f"{one.tag} {one.said or quality.describe(one.quality)}" for one in readings if not one.is_good]
    if bad:
        words = f"{len(bad)} of {len(readings)} tags bad ({', '.join(bad)}): forewarn edge read says why"
        return Finding("warn", path, words)
    return Finding("ok", path, f"{len(readings)} {'tag' if len(readings) == 1 else 'tags'} read")
