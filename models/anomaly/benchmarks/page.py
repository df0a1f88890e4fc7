"""The page of figures: every benchmark as a table, beside what others published."""

import math
from collections.abc import Mapping, Sequence

import msgspec

from models.anomaly.benchmarks.contenders import GUESSERS, OURS
from models.anomaly.benchmarks.promises import make_kept_table
from models.anomaly.benchmarks.protocol import Metric
from models.anomaly.benchmarks.shelf import BENCHMARKS, Report

PREFACE = """# Models: what the detectors find, and what they cost in false alarms

Written by `forewarn models benchmark all --data DIR`. One recipe for all machines, only the grid and the
shortest window differ; labels say at most which rows are normal enough to learn from; every row is judged
from itself and earlier rows, and elapsed time is no feature. The baselines see the same multi-window features
and are calibrated by the same promise: what is left of the difference is the detector. `random` guesses,
`always_alarm` never stops: a metric on which they do well says nothing. Shares are between 0 and 1. The
figures are those of the files named; files left out of the folder were never looked at. All of it takes some
three minutes of one core.
"""
PURPOSES = {
    "skab": "A real water-pump rig. Learned from the first 400 s of each experiment, judged on the rest. "
    "`f1`, `far`, `mar`: rows above the limit, pooled. The others count alerts (8 of 10 rows). So short a "
    "baseline supports only a provisional promise.",
    "nab": "Single tags. Learned from 15 % (750 rows at most), and anew every week from the rows without an "
    "alert. NAB's standard profile on alerts; one that stays on is said again every week.",
    "tep": "The Tennessee Eastman process. Learned from one normal run; the limit is the held-out 99 % "
    "quantile. `fdr18` leaves out faults that change next to nothing (3, 9, 15).",
    "cmapss": "Turbofans run to failure. Learned from the first 40 cycles of half of the engines, judged on "
    "the others; healthy is farther than 125 cycles from the end. Conditions of flight, where there are "
    "several, are found in the settings. Remaining life: five folds by engine, every cycle counts, capped at "
    "125.",
    "hvac": "Air handlers. A day counts by the level that a tenth of its minutes exceed.",
    "ims": "Bearings run to failure. Learned from the first quarter; an alert in the first half is false.",
    "metropt": "A metro train's compressor in windows of 45 minutes whose order is lost, five folds: "
    "neighbours of what is judged are learned from, so every detector looks better than it is.",
}


PROMISES = f"""## Promised and realised

False alarms of `{OURS}` in judged time that is known to be healthy, beside what was promised for it. One a
month is asked for, of the turbofans one in 2,000 cycles, of the compressor one window in 100. Where the rows
to learn from bear no promise so rare, the rarest that they bear is made, one alarm in twice their own length
(on the rig: in 11 minutes), and called provisional. A firm one is for a machine that stays as it was: in its
long run the rig's thermocouple goes on rising, and some days of air handlers are unlike the others.
"""


class Published(msgspec.Struct, frozen=True):
    """A figure that others gave for the set: what, from whom, and whether it uses later rows."""

    figure: str
    source: str
    looks_ahead: str


PUBLISHED: Mapping[str, Sequence[Published]] = {
    "skab": [
        Published(
            "F1 0.78", "convolutional autoencoder, best of the data set's own leaderboard", "yes, 58 s"
        ),
        Published("F1 0.71", "the same, made causal", "no"),
    ],
    "nab": [Published("82.0 on machine temperature", "best of NAB's own results for that file", "no")],
    "cmapss": [
        Published(
            "RMSE 12.6 on FD001's test engines, one cut each",
            "Li, Ding and Sun, Reliability Engineering & System Safety 172 (2018)",
            "no",
        )
    ],
}


def make_page(reports: Sequence[Report], library_versions: Mapping[str, str]) -> str:
    """Return the page in Markdown."""
    versions = ", ".join(f"{name} {version}" for name, version in library_versions.items())
    parts = [PREFACE, f"Versions: {versions}.\n", *map(_describe, reports), *_describe_promises(reports)]
    return "\n".join(parts)


def make_table(report: Report) -> list[list[str]]:
    """Return the rows of a report's table, the names of the metrics first."""
    metrics = list(dict.fromkeys(name for result in report.results.values() for name in result))
    lines = [["detector", *metrics]]
    for contender, result in report.results.items():
        lines.append([contender, *(_say(result.get(metric)) for metric in metrics)])
    return lines


def count_files(report: Report) -> str:
    """Return how many files were judged, in words."""
    return "1 file" if report.files == 1 else f"{report.files} files"


def list_promises(report: Report) -> list[list[str]]:
    """Return rows of text of what was promised and realised, the heading first; none if nothing was."""
    kept = [(name, one) for name, parts in report.kept.items() if name not in GUESSERS for one in parts]
    return make_kept_table(kept) if kept else []


def _describe_promises(reports: Sequence[Report]) -> list[str]:
    kept = [(report.benchmark, one) for report in reports for one in report.kept.get(OURS, [])]
    if not kept:
        return []
    heading, *rows = make_kept_table(kept)
    lines = ["| " + " | ".join(heading) + " |", "|---" * len(heading) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return [PROMISES, *lines, ""]


def _describe(report: Report) -> str:
    table = make_table(report)
    lines = [f"## {report.benchmark}: {count_files(report)}", "", PURPOSES[report.benchmark], ""]
    # Metrics down, detectors across: there are many metrics.
    turned = list(zip(*table, strict=True))
    lines.append("| " + " | ".join(["", *turned[0][1:]]) + " |")
    lines.append("|---" * len(turned[0]) + "|")
    lines += ["| " + " | ".join(row) + " |" for row in turned[1:]]
    lines += ["", _compare(report)]
    published = PUBLISHED.get(report.benchmark, [])
    if published:
        lines += ["", "| published | by | looks ahead |", "|---|---|---|"]
        lines += [f"| {one.figure} | {one.source} | {one.looks_ahead} |" for one in published]
    else:
        lines += ["", "Nothing published is known to us that uses this protocol."]
    return "\n".join(lines) + "\n"


def _compare(report: Report) -> str:
    """Return in words on which of the headline metrics ours is not the best of the detectors."""
    ours = report.results.get(OURS, {})
    rivals = {name: result for name, result in report.results.items() if name not in (OURS, *GUESSERS)}
    beaten: dict[str, list[str]] = {}
    for metric, direction in BENCHMARKS[report.benchmark].headline.items():
        own = ours.get(metric)
        for name, result in rivals.items():
            other = result.get(metric)
            if isinstance(own, list) or isinstance(other, list) or own is None or other is None:
                continue
            if direction * (other - own) > 0:
                beaten.setdefault(metric, []).append(name)
    if not ours or not rivals:
        return ""
    said = "; ".join(f"`{metric}`: {', '.join(names)}" for metric, names in beaten.items())
    return f"Better than `{OURS}`: {said}." if beaten else f"`{OURS}` is best or level throughout."


def _say(metric: Metric) -> str:
    if metric is None:
        return "-"
    if isinstance(metric, list):
        return ", ".join(_say(one) for one in metric)
    if isinstance(metric, float):
        return "-" if math.isnan(metric) else f"{metric:.3g}"
    return str(metric)
