"""What the commands print: settings, readings and outboxes as text for a person, or as JSON."""

import time
from collections.abc import Mapping, Sequence

import msgspec

from edge.commands.reading import Reading
from edge.outbox.glance import Glance
from edge.outbox.rescue import Survey
from edge.polling.clock import CLOCK_MEND
from edge.settings import EdgeSettings
from edge.sparkplug.words import describe_sparkplug, render_node
from models.telemetry import quality
from models.words import say_bytes, say_duration


def describe_settings(settings: EdgeSettings) -> str:
    """Return a summary of what the agent would do."""
    tags = sum(len(machine.tags) for machine in settings.machines)
    outbox = settings.outbox
    lines = [
        f"gateway {settings.gateway}, namespace {settings.namespace}",
        f"broker {settings.broker.address}, {'TLS' if settings.broker.tls else 'no TLS'}",
        f"outbox {outbox.path}, {say_bytes(outbox.bytes_max)} at most, "
        f"written every {say_duration(outbox.flush_s)}",
        *describe_sparkplug(settings),
        f"{_count(len(settings.machines), 'machine')}, {_count(tags, 'tag')}:",
    ]
    rows = [
        (
            str(machine.path),
            machine.kind,
            _count(len(machine.tags), "tag"),
            "as news comes" if _is_subscription(machine) else f"every {say_duration(machine.interval_s)}",
        )
        for machine in settings.machines
    ]
    return "\n".join([*lines, *(f"  {line}" for line in _align(rows)), "the settings are right"])


def encode_check(
    settings: EdgeSettings, clock_synchronised: bool | None, findings: Sequence[Mapping[str, str]]
) -> str:
    """Return the settings' summary and what was found online as one JSON object."""
    machines = [
        {
            "path": str(machine.path),
            "kind": machine.kind,
            "tags": len(machine.tags),
            "interval_s": None if _is_subscription(machine) else machine.interval_s,
        }
        for machine in settings.machines
    ]
    outbox = settings.outbox
    told = {
        "ok": all(one["verdict"] != "fail" for one in findings),
        "gateway": settings.gateway,
        "namespace": settings.namespace,
        "broker": {"address": settings.broker.address, "tls": settings.broker.tls is not None},
        "outbox": {"path": str(outbox.path), "bytes_max": outbox.bytes_max, "flush_s": outbox.flush_s},
        "sparkplug": render_node(settings),
        "machines": machines,
        "clock_synchronised": clock_synchronised,
        "findings": list(findings),
    }
    return msgspec.json.encode(told).decode()


def encode_mistakes(mistakes: Sequence[str]) -> str:
    """Return the mistakes of settings as one JSON object."""
    return msgspec.json.encode({"ok": False, "mistakes": list(mistakes)}).decode()


def describe_clock(*, synchronised: bool | None) -> str:
    """Return a warning where this computer's clock is not kept right, else nothing."""
    return (
        f"but the clock of this computer is not synchronised: {CLOCK_MEND}" if synchronised is False else ""
    )


def describe_readings(readings: Sequence[Reading], now_ns: int) -> str:
    """Return a table of the readings, and beneath it why machines and tags could not be read."""
    rows = [("machine", "tag", "value", "unit", "quality", "age")]
    rows += [
        (
            reading.machine,
            reading.tag,
            "-" if reading.value is None else f"{reading.value:.6g}",
            reading.unit,
            quality.describe(reading.quality),
            "-" if reading.timestamp is None else _say_age((now_ns - reading.timestamp) / 1e9),
        )
        for reading in readings
    ]
    reasons = dict.fromkeys(f"{reading.machine}: {reading.reason}" for reading in readings if reading.reason)
    said = [f"{reading.machine} {reading.tag}: {reading.said}" for reading in readings if reading.said]
    return "\n".join([*_align(rows), *reasons, *said])


def encode_readings(readings: Sequence[Reading], now_ns: int) -> str:
    """Return one JSON object per line and reading."""
    return "\n".join(
        msgspec.json.encode(
            {
                "machine": reading.machine,
                "tag": reading.tag,
                "value": reading.value,
                "unit": reading.unit,
                "quality": quality.describe(reading.quality),
                "timestamp": reading.timestamp,
                "age_s": None if reading.timestamp is None else (now_ns - reading.timestamp) / 1e9,
                "reason": reading.reason or reading.said,
            }
        ).decode()
        for reading in readings
    )


def describe_outbox(seen: Glance, bytes_max: int) -> str:
    """Return what waits in an outbox, by machine, and what was dropped."""
    size = sum(machine.size for machine in seen.machines)
    values = sum(machine.values for machine in seen.machines)
    lines = [
        f"{seen.path}: gateway {seen.gateway}, epoch {seen.epoch}",
        f"written so far: {seen.sequence_last} batches, {seen.values_total} values",
        f"waiting for their receipt: {values} values, "
        f"{say_bytes(size)} of {say_bytes(bytes_max)} ({size / bytes_max:.1%})",
    ]
    rows = [
        (
            machine.machine,
            _count(machine.batches, "batch"),
            _count(machine.values, "value"),
            say_bytes(machine.size),
            f"oldest {say_duration(max(0, time.time_ns() - machine.oldest_ns) / 1e9)}",
        )
        for machine in seen.machines
    ]
    dropped = [
        f"dropped: batches {gone.first} to {gone.last}, {gone.values} values: {gone.reason}"
        for gone in seen.dropped
    ]
    held = (
        [f"waiting for the clock to be set: {_count(seen.held_values, 'value')}"] if seen.held_values else []
    )
    return "\n".join([*lines, *(f"  {line}" for line in _align(rows)), *held, *dropped])


def encode_outbox(seen: Glance, bytes_max: int) -> str:
    """Return the same as one JSON object."""
    waiting = {
        "waiting_values": sum(machine.values for machine in seen.machines),
        "waiting_bytes": sum(machine.size for machine in seen.machines),
        "bytes_max": bytes_max,
    }
    return msgspec.json.encode(msgspec.structs.asdict(seen) | waiting).decode()


def describe_survey(seen: Survey) -> str:
    """Return what a damaged outbox still holds, and what of it does not."""
    lines = [
        f"readable: {_count(seen.batches, 'batch')}, {_count(seen.values, 'value')} of "
        f"{_count(seen.machines, 'machine')}, {say_bytes(seen.size)}"
    ]
    if seen.broken:
        lines.append(f"broken: {_count(seen.broken, 'batch')} whose content the disk has changed")
    if seen.missing_max:
        lines.append(
            f"not there: {_count(seen.missing_max, 'batch')} at most, for what the cloud had receipted "
            "is not there either"
        )
    return "\n".join(lines)


def _say_age(seconds: float) -> str:
    """Return an age; a value of the future has the clock of its machine, and that is worth seeing."""
    if seconds < -1:
        return f"{say_duration(-seconds)} ahead"
    return f"{max(0.0, seconds):.1f} s" if seconds < 10 else say_duration(seconds)


def _is_subscription(machine: object) -> bool:
    return getattr(machine, "mode", "poll") == "subscription"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}{'es' if word.endswith('ch') else 's'}"


def _align(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
