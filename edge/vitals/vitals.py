"""How the gateway fares, in one struct: for scrapers, for the status line, for people."""

from typing import Any

import msgspec

from edge.outbox.outbox import OutboxTotals
from edge.outbox.words import describe_room
from edge.sparkplug.vitals import (
    SparkplugVitals,
    list_sparkplug_metrics,
    list_sparkplug_problems,
    render_sparkplug,
)
from edge.vitals.exposition import Metric
from models.link.certificates import Ending
from models.telemetry import MachineStatus


class MachineCounters(msgspec.Struct):
    """What one machine's poller has counted since the start."""

    reads_total: int = 0
    values_total: int = 0
    losses_total: int = 0
    repeats_total: int = 0
    clamped_total: int = 0
    set_back_total: int = 0
    suppressed_total: int = 0
    implausible_total: int = 0
    gaps_total: int = 0
    history_values_total: int = 0


class Vitals(msgspec.Struct, frozen=True):
    """All at one moment. `standstill`: why a restart is due; `outbox_trouble`: why the disk takes nothing."""

    gateway: str
    version: str
    standstill: str
    machines: list[MachineStatus]
    counters: dict[str, MachineCounters]
    values_pending: int
    values_dropped_total: int
    totals: OutboxTotals
    outbox_bytes_max: int
    outbox_bytes_per_s: float
    outbox_trouble: str
    broker_connected: bool
    clock_synchronised: bool | None
    clock_held: int = 0
    clock_restamped_total: int = 0
    clock_unknown_total: int = 0
    clock_steps_total: int = 0
    endings: list[Ending] = []
    warnings: list[str] = []
    delivery_trouble: str = ""
    sparkplug: SparkplugVitals | None = None

    @property
    def room_s(self) -> float | None:
        """How long the outbox has room when nothing is delivered; None while the pace is not known."""
        return count_room(self.totals.waiting_bytes, self.outbox_bytes_max, self.outbox_bytes_per_s)

    @property
    def machines_connected(self) -> int:
        """How many machines answer."""
        return sum(machine.state == "connected" for machine in self.machines)


def count_room(used_bytes: int, bytes_max: int, bytes_per_s: float) -> float | None:
    """Return for how many seconds there is room at this pace; None while there is none."""
    return max(0, bytes_max - used_bytes) / bytes_per_s if bytes_per_s > 0 else None


def describe_problems(vitals: Vitals) -> list[str]:
    """Return what is not as it should be, worst first, each in a line for a person."""
    problems = [line for line in (vitals.standstill, vitals.outbox_trouble) if line]
    if not vitals.broker_connected:
        problems.append("no connection to the broker: values wait in the outbox")
    elif vitals.delivery_trouble:
        problems.append(f"values wait in the outbox: {vitals.delivery_trouble}")
    if vitals.sparkplug is not None:
        problems += list_sparkplug_problems(vitals.sparkplug)
    problems += [
        f"{machine.machine}: {machine.reason or machine.state}"
        for machine in vitals.machines
        if machine.state != "connected"
    ]
    if vitals.clock_held:
        problems.append(f"the clock is not right: {vitals.clock_held} values wait until it is set")
    elif vitals.clock_synchronised is False:
        problems.append("the clock is not synchronised")
    return problems + vitals.warnings


def render_health(vitals: Vitals) -> tuple[bool, dict[str, Any]]:
    """Return whether the gateway does its work, and the body of `/healthz`.

    A broker or a machine that is away is what a gateway is built for: named as a problem, yet no failure.
    """
    fine = not vitals.standstill and not vitals.outbox_trouble
    room_s = vitals.room_s
    return fine, {
        "ok": fine,
        "gateway": vitals.gateway,
        "version": vitals.version,
        "problems": describe_problems(vitals),
        "machines": {"connected": vitals.machines_connected, "all": len(vitals.machines)},
        "broker_connected": vitals.broker_connected,
        "outbox": {
            "waiting_values": vitals.totals.waiting_values,
            "waiting_bytes": vitals.totals.waiting_bytes,
            "bytes_max": vitals.outbox_bytes_max,
            "room_s": None if room_s is None else round(room_s),
        },
        **({"sparkplug": render_sparkplug(vitals.sparkplug)} if vitals.sparkplug is not None else {}),
    }


def describe_vitals(vitals: Vitals) -> str:
    """Return the line that `systemctl status` shows."""
    if vitals.standstill:
        return f"stands still: {vitals.standstill}"
    broker = "broker connected" if vitals.broker_connected else "no broker"
    room = describe_room(vitals.totals.waiting_bytes, vitals.outbox_bytes_max, vitals.outbox_bytes_per_s)
    waiting = f"{vitals.totals.waiting_values} values wait"
    machines = f"{vitals.machines_connected} of {len(vitals.machines)} machines connected"
    return "; ".join([machines, broker, waiting, vitals.outbox_trouble or room])


def list_metrics(vitals: Vitals) -> list[Metric]:
    """Return the vitals as metrics."""
    sparkplug = list_sparkplug_metrics(vitals.sparkplug) if vitals.sparkplug is not None else []
    return [*_list_of_gateway(vitals), *sparkplug, *_list_of_machines(vitals)]


def _list_of_gateway(vitals: Vitals) -> list[Metric]:
    totals, room_s, clock = vitals.totals, vitals.room_s, vitals.clock_synchronised
    dropped = sum(gone.values for gone in totals.dropped)
    labels = {"gateway": vitals.gateway, "version": vitals.version}
    return [
        Metric("forewarn_gateway_started", "gauge", "Always 1; says who this is", [(labels, 1)]),
        _gauge("gateway_moving", "1 while values are read and brought to the disk", not vitals.standstill),
        _gauge("broker_connected", "1 while the link to the broker stands", vitals.broker_connected),
        _gauge("clock_synchronised", "1 while a time service keeps the clock right", clock),
        _count("clock_steps_total", "Times that the computer's clock was set", vitals.clock_steps_total),
        _gauge("clock_held_values", "Values that wait for the clock to be set", vitals.clock_held),
        _count(
            "clock_unknown_values_total",
            "Values not stored because power went before the clock was set",
            vitals.clock_unknown_total,
        ),
        _count(
            "clock_restamped_values_total",
            "Values whose time was mended when the clock was set",
            vitals.clock_restamped_total,
        ),
        _gauge("values_pending", "Values in memory until the next flush", vitals.values_pending),
        _count("values_dropped_total", "Values that memory had no room for", vitals.values_dropped_total),
        _count("outbox_values_total", "Values committed to the outbox since it exists", totals.values_total),
        _count("outbox_batches_total", "Batches committed since the outbox exists", totals.sequence_last),
        _count("outbox_dropped_values_total", "Values a full outbox gave up, of those on record", dropped),
        _gauge("outbox_waiting_values", "Values that wait for their receipt", totals.waiting_values),
        _gauge("outbox_waiting_bytes", "Bytes that wait for their receipt", totals.waiting_bytes),
        _gauge("outbox_bytes_max", "Bytes that may wait", vitals.outbox_bytes_max),
        _gauge("outbox_room_seconds", "Until it is full when nothing is delivered", room_s),
        _gauge("outbox_writable", "1 while the disk takes what comes", not vitals.outbox_trouble),
        Metric(
            "forewarn_certificate_ends_timestamp_seconds",
            "gauge",
            "When a certificate of the way to the broker ends",
            [({"whose": one.whose, "place": one.place}, one.end_s) for one in vitals.endings],
        ),
    ]


def _list_of_machines(vitals: Vitals) -> list[Metric]:
    machines = [({"machine": machine.machine}, machine) for machine in vitals.machines]
    meanings = {
        "reads_total": "Reads that gave an answer",
        "values_total": "Values read, bad ones too",
        "losses_total": "Times that the connection was lost or not made",
        "repeats_total": "Values left out for having the timestamp of the one before",
        "clamped_total": "Values moved to just after an earlier one with a later timestamp",
        "set_back_total": "Times that a tag's last timestamp was found to lie in the future and forgotten",
        "suppressed_total": "Values not reported for differing less than their deadband",
        "implausible_total": "Values outside what their tag can be",
        "gaps_total": "Records of what was not acquired; a gap that grows or is filled is recorded again",
        "history_values_total": "Values that the machine's history gave back",
    }
    return [
        Metric(
            "forewarn_machine_connected",
            "gauge",
            "1 while the machine answers",
            [(labels, machine.state == "connected") for labels, machine in machines],
        ),
        Metric(
            "forewarn_machine_bad_tags",
            "gauge",
            "Tags without a value",
            [(labels, len(machine.bad_tags)) for labels, machine in machines],
        ),
        Metric(
            "forewarn_machine_missed_cycles_total",
            "counter",
            "Polls that did not take place in time",
            [(labels, machine.missed_cycles_total) for labels, machine in machines],
        ),
        *(
            Metric(
                f"forewarn_machine_{name}",
                "counter",
                meaning,
                [({"machine": path}, getattr(found, name)) for path, found in vitals.counters.items()],
            )
            for name, meaning in meanings.items()
        ),
    ]


def _gauge(name: str, meaning: str, value: float | None) -> Metric:
    return Metric(f"forewarn_{name}", "gauge", meaning, [] if value is None else [({}, value)])


def _count(name: str, meaning: str, value: int) -> Metric:
    return Metric(f"forewarn_{name}", "counter", meaning, [({}, value)])
