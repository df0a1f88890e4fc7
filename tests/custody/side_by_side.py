"""Our gateway and ThingsBoard's under the same faults: what the machines handed out and nobody ever got."""

import os
import time
from collections.abc import Callable, Sequence

import msgspec

from tests.custody.faults import DIRECTED, Fault, healed
from tests.custody.plant import Plant
from tests.custody.reconcile import Verdict, reconcile
from tests.custody.site import Machines, Site
from tests.custody.thingsboard import STORAGES, Server, ThingsBoardProcess
from tests.custody.truth import Issue, make_path

MACHINES = Machines(modbus=3, opcua=0, interval_s=0.5)
OF_THE_CLOUD = ("ingester", "store", "poison")
"""Faults of what stands behind our broker: ThingsBoard's gateways talk to ThingsBoard's server."""
WARM_UP_S = 25.0
SESSION_S = 60
"""So long the server's place at the broker is kept: what is lost is to be lost by the gateways."""
CALM_S = 40.0
"""After each fault: ThingsBoard's gateway takes so long until it is back from a broker that was away."""


class PeerSite(Site):
    """Ours and two of ThingsBoard's on one computer: they share its disk, its power, its clock, its line."""

    gateways_ours = (1,)
    lines = 1 + len(STORAGES)
    clocked = (1,)

    def start(self) -> None:
        """Start all."""
        super().start()
        for number in STORAGES:
            broker = (self._way.host, self._way.port)
            gateway = ThingsBoardProcess(self, number, list(self._way.prefix), broker)
            self.add(number, gateway, is_on_disk=True)
        os.sync()  # settings are older than any power cut


class PeerPlant(Plant):
    """The chain with three gateways, and a server for ThingsBoard's."""

    def _make_site(self) -> Site:
        self.server = Server(self.broker.port, keep=True, session_expiry_s=SESSION_S)
        self._exit.callback(self.server.stop)
        return PeerSite(self.folder, self.way, self._wanted)


class Fate(msgspec.Struct):
    """What became of what the machines of one gateway handed out. `lost_to`: by fault, nobody knows of it."""

    title: str
    issued: int = 0
    arrived: int = 0
    in_gaps: int = 0
    unknown: int = 0
    twice: int = 0
    lost_to: dict[str, int] = {}


class Comparison(msgspec.Struct, frozen=True):
    """The whole run; the first of the fates is ours."""

    faults: list[str]
    fates: list[Fate]
    way: str


def choose_shared_faults(*, is_root: bool) -> list[Fault]:
    """Return the directed schedule's faults of gateways, of their broker and of the way to it."""
    return [
        fault
        for fault in DIRECTED
        if not any(word in fault.name for word in OF_THE_CLOUD) and (is_root or not fault.needs_root)
    ]


def compare(plant: PeerPlant, faults: Sequence[Fault], say: Callable[[str], None] = print) -> Comparison:
    """Strike with each fault in turn, wait until all gateways had time to bring what they have, and judge."""
    time.sleep(WARM_UP_S)
    begins: list[tuple[int, str]] = []
    first_ns = time.time_ns()
    with healed(plant):
        for fault in faults:
            begins.append((time.time_ns(), fault.name))
            fault.strike(plant)
            say(fault.name)
            time.sleep(CALM_S)
    last_ns = time.time_ns()
    time.sleep(CALM_S)
    issued = [issue for issue in plant.read_issued() if first_ns <= issue.at_ns <= last_ns]
    fates = [_judge_ours(plant, issued, begins)]
    fates += [_judge_theirs(plant, number, issued, begins) for number in STORAGES]
    return Comparison([fault.name for fault in faults], fates, plant.way.words)


def _judge_ours(plant: PeerPlant, issued: Sequence[Issue], begins: list[tuple[int, str]]) -> Fate:
    names = {str(machine) for machine in plant.machines}
    own = [issue for issue in issued if issue.machine in names]
    everything = [issue for issue in plant.read_issued() if issue.machine in names]
    stored, gaps = plant.read_stored(), plant.read_gaps()
    verdict: Verdict = reconcile(everything, plant.read_accepted(), stored, gaps, int(plant.slack_s * 1e9))
    there = {(row.machine, int(row.number or 0)) for row in stored}
    fate = Fate("Forewarn", len(own), in_gaps=verdict.covered, twice=verdict.twice)
    fate.arrived = sum((issue.machine, issue.number) in there for issue in own)
    fate.unknown = fate.issued - fate.arrived - fate.in_gaps
    # What no gap covers is named by the verdict; by fault it is counted as the others' is.
    if fate.unknown:
        fate.lost_to = _count_by_fault(
            [issue for issue in own if (issue.machine, issue.number) not in there], begins
        )
    return fate


def _judge_theirs(
    plant: PeerPlant, number: int, issued: Sequence[Issue], begins: list[tuple[int, str]]
) -> Fate:
    fate = Fate(f"ThingsBoard gateway, storage: {STORAGES[number]}")
    for index in range(MACHINES.modbus):
        machine = str(make_path(number, "modbus", index))
        arrivals = plant.server.of(machine)
        there = {int(value) for _, value in list(arrivals.distinct)}
        own = [issue for issue in issued if issue.machine == machine]
        lost = [issue for issue in own if issue.number not in there]
        fate.issued += len(own)
        fate.arrived += len(own) - len(lost)
        fate.twice += arrivals.values - len(arrivals.distinct)
        for name, count in _count_by_fault(lost, begins).items():
            fate.lost_to[name] = fate.lost_to.get(name, 0) + count
    fate.unknown = fate.issued - fate.arrived
    return fate


def _count_by_fault(lost: Sequence[Issue], begins: Sequence[tuple[int, str]]) -> dict[str, int]:
    """Return how many were handed out from the beginning of each fault to that of the next."""
    counts: dict[str, int] = {}
    for issue in lost:
        names = [name for begin_ns, name in begins if begin_ns <= issue.at_ns]
        counts[names[-1]] = counts.get(names[-1], 0) + 1
    return counts


def describe(found: Comparison) -> str:
    """Return the page's section."""
    heads = ["gateway", "handed out", "arrived", "not arrived, in a recorded gap"]
    lines = [
        "| " + " | ".join([*heads, "**not arrived, and nobody says so**", "came twice"]) + " |",
        "|---" + "|--:" * 5 + "|",
    ]
    for fate in found.fates:
        counts = (
            f"{fate.issued:,} | {fate.arrived:,} | {fate.in_gaps:,} | **{fate.unknown:,}** | {fate.twice:,}"
        )
        lines.append(f"| {fate.title} | {counts} |")
    lines += ["", "What nobody says so of, by the fault that it was handed out in, or after:", ""]
    lines += ["| fault | " + " | ".join(fate.title for fate in found.fates) + " |"]
    lines += ["|---" + "|--:" * len(found.fates) + "|"]
    for name in found.faults:
        counts = " | ".join(f"{fate.lost_to.get(name, 0):,}" for fate in found.fates)
        lines.append(f"| {name} | {counts} |")
    return "\n".join([*lines, "", f"The way between gateways and broker: {found.way}.", ""])
