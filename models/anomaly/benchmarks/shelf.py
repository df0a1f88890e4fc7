"""The list of benchmarks, by name, and how one is run."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from models.anomaly.benchmarks.cmapss import CMAPSS
from models.anomaly.benchmarks.contenders import CONTENDERS
from models.anomaly.benchmarks.hvac import HVAC
from models.anomaly.benchmarks.ims import IMS
from models.anomaly.benchmarks.metropt import METROPT
from models.anomaly.benchmarks.nab import NAB
from models.anomaly.benchmarks.promises import Kept
from models.anomaly.benchmarks.protocol import Benchmark, Metrics, Tick
from models.anomaly.benchmarks.skab import SKAB
from models.anomaly.benchmarks.tep import TEP

BENCHMARKS: dict[str, Benchmark] = {one.name: one for one in (SKAB, NAB, TEP, CMAPSS, HVAC, IMS, METROPT)}


class Report(msgspec.Struct, frozen=True):
    """What a benchmark gave: how many files were there, metrics and kept promises of each contender."""

    benchmark: str
    files: int
    results: dict[str, Metrics]
    kept: dict[str, Sequence[Kept]] = {}


def count_steps(benchmark: Benchmark, folder: Path, contenders: Sequence[str] = CONTENDERS) -> int:
    """Return how often `run_benchmark` will call its tick; raise `LayoutMissing`."""
    files = benchmark.list_files(folder)
    return sum(benchmark.count_steps(files, contender) for contender in contenders)


def run_benchmark(
    benchmark: Benchmark,
    folder: Path,
    contenders: Sequence[str] = CONTENDERS,
    tick: Tick = lambda: None,
    tell: Callable[[str], None] = lambda _: None,
) -> Report:
    """Return the report on `folder`; `tell` hears each contender's name before its turn."""
    files = benchmark.list_files(folder)
    results, kept = {}, {}
    for contender in contenders:
        tell(f"{benchmark.name} {contender}")
        outcome = benchmark.run(files, contender, tick)
        results[contender], kept[contender] = outcome.metrics, outcome.kept
    return Report(benchmark.name, len(files), results, kept)
