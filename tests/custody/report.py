"""The custody figures as a page for people: docs/CUSTODY.md."""

import math
import platform
import sqlite3
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.custody import side_by_side
from tests.custody.figures import Figures
from tests.custody.schedule import Outcome, Strike, Weight
from tests.servers import find_program

HEADER = """# Custody, measured

> Every value that the edge accepted (committed to its outbox) is stored exactly once, under any sequence of
> faults; every value that was not acquired is covered by a recorded gap with a reason.

`make custody` runs the chain (counting machines over Modbus and OPC UA, two gateways, Mosquitto without
persistence, ingesters, a store), does the following to it, and compares what the machines handed out, what
the gateways said that they had committed, and what the store holds. `make custody-long` draws faults at
random for ten minutes. The same harness must find a loss where the outbox is trimmed on the broker's
acknowledgement, and where SQLite does not wait for the disk; both are tests. `make custody-peers` does the
same to ThingsBoard's gateway beside ours. Each of them writes its part of this page with
`ARGS=--write-custody`.

Who is away or loses its connection for a while costs a receipt's time (here 5 s) where batches were lost
with it: what the broker had acknowledged and forgot, or had no room for, the gateways send again when no
receipt has come by then. An ingester that is killed keeps its share of the batches in the broker for 15 s;
what it misses meanwhile comes the same way.
"""

BESIDE = """## Beside ThingsBoard's gateway

ThingsBoard's gateway 3.8.5 and ours on one computer: one disk, one clock, one line, one broker, three Modbus
machines each at 0.5 s. Of the directed schedule, the faults of gateways, of the broker and of the way to it;
40 s of calm after each. What reaches a subscriber at the broker counts as arrived with theirs, what the
store has with ours. Nobody says so: it is in no recorded gap either (theirs records none).
"""


def describe(figures: Figures) -> str:
    """Return the page."""
    outcomes = list(figures.runs.items())
    parts = [HEADER, "## Verdicts\n", _tabulate_verdicts(outcomes)]
    for name, outcome in outcomes:
        if len(outcome.strikes) > 1:
            parts += [f"## {name[0].upper()}{name[1:]}: fault by fault\n", _tabulate_strikes(outcome)]
    parts += ["## Bytes a value\n", _tabulate_weights(outcomes)]
    if figures.beside is not None:
        parts += [BESIDE, side_by_side.describe(figures.beside)]
    parts += ["## Versions of the last run\n", _list_versions()]
    return "\n".join(parts)


def _tabulate_verdicts(outcomes: Sequence[tuple[str, Outcome]]) -> str:
    lines = [
        "| run | store | faults | handed out | accepted | lost | stored twice | never handed out "
        "| wrong value | not acquired, in a gap | not acquired, no gap | recovery p50 / max "
        "| backlog at most |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, outcome in outcomes:
        found = outcome.verdict
        times = sorted(one.recovery_s for one in outcome.strikes if one.recovery_s is not None)
        recovery = f"{statistics.median(times):.2g} / {times[-1]:g} s" if times else "-"
        peak = max((one.peak_backlog for one in outcome.strikes), default=0)
        seed = "" if outcome.seed is None else f", seed {outcome.seed}"
        lines.append(
            f"| {name}{seed} | {outcome.store} | {len(outcome.strikes)} | {found.issued:,} "
            f"| {found.accepted:,} | **{found.missing:,}** | {found.twice} | {found.never_issued} "
            f"| {found.wrong_value} | {found.covered:,} | {found.uncovered} | {recovery} | {peak:,} batches |"
        )
    return "\n".join(lines) + "\n"


def _tabulate_strikes(outcome: Outcome) -> str:
    lines = _list_strikes(outcome.strikes) if outcome.seed is None else _sum_strikes(outcome.strikes)
    gaps = ", ".join(f"{reason} {seconds:.0f} s" for reason, seconds in sorted(outcome.gap_seconds.items()))
    return (
        "\n".join(lines) + f"\n\nThe way between gateways and broker: {outcome.way}.\n"
        f"Recorded gaps, summed over all machines: {gaps or 'none'}.\n"
    )


def _list_strikes(strikes: Sequence[Strike]) -> list[str]:
    lines = ["| fault | lasted | backlog at most | all stored after |", "|---|--:|--:|--:|"]
    for one in strikes:
        after = "never" if one.recovery_s is None else f"{one.recovery_s:g} s"
        lines.append(f"| {one.name} | {one.lasted_s:g} s | {one.peak_backlog:,} batches | {after} |")
    return lines


def _sum_strikes(strikes: Sequence[Strike]) -> list[str]:
    """A line for each kind of fault: how often it came in all, and the worst of it."""
    lines = [
        "| fault | times | lasted, sum | backlog at most | all stored after, p50 / max |",
        "|---|--:|--:|--:|--:|",
    ]
    for name in sorted({one.name for one in strikes}):
        same = [one for one in strikes if one.name == name]
        times = [math.inf if one.recovery_s is None else one.recovery_s for one in same]
        most = "never" if math.inf in times else f"{max(times):g} s"
        lines.append(
            f"| {name} | {len(same)} | {sum(one.lasted_s for one in same):.0f} s "
            f"| {max(one.peak_backlog for one in same):,} batches "
            f"| {statistics.median(times):.2g} / {most} |"
        )
    return lines


def _tabulate_weights(outcomes: Sequence[tuple[str, Outcome]]) -> str:
    lines = [
        "Batches here are as small as they get: two rows of two values. With 1,000 values a batch it is a\n"
        "few bytes a value (docs/PERFORMANCE.md). Files as they are at the end, before a store tidies up.\n",
        "| run | outboxes at their fullest | a value | store | files at the end | a value |",
        "|---|--:|--:|---|--:|--:|",
    ]
    for name, outcome in outcomes:
        kept, stored = outcome.outboxes, outcome.stored
        lines.append(
            f"| {name} | {kept.size_bytes / 1e3:,.0f} kB for {kept.values:,} values | {_divide(kept)} "
            f"| {outcome.store} | {stored.size_bytes / 1e3:,.0f} kB for {stored.values:,} values "
            f"| {_divide(stored)} |"
        )
    return "\n".join(lines) + "\n"


def _divide(weight: Weight) -> str:
    return f"{weight.size_bytes / weight.values:.0f} bytes" if weight.values else "-"


def _list_versions() -> str:
    mosquitto = subprocess.run([find_program("mosquitto"), "-h"], capture_output=True, text=True, check=False)
    influxd = subprocess.run(
        [find_program("influxd"), "version"], capture_output=True, text=True, check=False
    )
    return (
        f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}, "
        f"{mosquitto.stdout.splitlines()[0]}, {influxd.stdout.strip().split(' (')[0]}, "
        f"{platform.system()} {platform.release().split('-')[0]}, {platform.machine()}.\n"
    )


def write(path: Path, figures: Figures) -> None:
    """Write the page."""
    path.write_text(describe(figures))
