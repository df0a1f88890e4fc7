"""The machines of the settings as pollers want them: driver, rules, the pace of their news."""

from collections.abc import Iterable

from edge.drivers.opcua.settings import OpcuaMachineSettings
from edge.drivers.shelf import MachineSettings
from edge.polling.gaps import NS_PER_S, QUIET_NS, Pace
from edge.polling.poller import MachineSource
from edge.polling.tag_filter import make_filter


def build_sources(machines: Iterable[MachineSettings]) -> list[MachineSource]:
    """Return the machines of the settings, each with its driver."""
    return [
        MachineSource(
            machine.path,
            machine.build(),
            make_filter(machine.tags),
            find_pace(machine),
            find_history_s(machine),
        )
        for machine in machines
    ]


def find_pace(machine: MachineSettings) -> Pace:
    """Return how news of the machine come: by subscription, those of slow tags lag behind those of fast ones.

    What a poll brings is complete when it comes, but for features of waveforms: those are there by the time
    that the next ones are due.
    """
    waveforms = (tag.interval_s or machine.interval_s for tag in machine.tags if tag.waveform is not None)
    computed_ns = round(max(waveforms, default=0.0) * NS_PER_S)
    if not isinstance(machine, OpcuaMachineSettings) or machine.mode == "poll":
        return Pace(computed_ns)
    intervals = {tag.interval_s or machine.interval_s for tag in machine.tags}
    longest_ns = round(max(*intervals, machine.publish_s or 0.0) * NS_PER_S)
    return Pace(longest_ns if len(intervals) > 1 else computed_ns, QUIET_NS + 2 * longest_ns)


def find_history_s(machine: MachineSettings) -> float:
    """Return how much of a gap the machine's history may fill, in seconds; 0: none."""
    if isinstance(machine, OpcuaMachineSettings) and machine.history == "fill":
        return machine.history_h_max * 3600
    return 0.0
