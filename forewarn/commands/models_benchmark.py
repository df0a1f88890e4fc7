"""`forewarn models benchmark`: how good the detectors are on recorded machines with labelled failures."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forewarn.commands.train import limit_threads
from models.errors import ForewarnError

if TYPE_CHECKING:
    from models.anomaly.benchmarks.shelf import Report

ALL = "all"
LIBRARIES = ("numpy", "scipy", "scikit-learn")


class UnknownName(ForewarnError):
    """There is no benchmark or detector of that name; the message lists them."""

    exit_code = 2


def benchmark(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="skab, nab, tep, cmapss, hvac, ims, metropt, all")
    ],
    folder: Annotated[Path, typer.Option("--data", metavar="DIR", help="The folder of the data sets.")],
    detector: Annotated[
        list[str] | None, typer.Option("--detector", help="Only this one; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    page: Annotated[
        Path, typer.Option("--page", metavar="FILE.md", help="Where `all` writes its page.")
    ] = Path("docs/MODELS.md"),
) -> None:
    """Judge every detector on recorded machines, by a protocol that looks at no label while learning.

    A benchmark runs on whatever files of its layout are in DIR. `all` runs those that are there and writes
    a page.
    """
    limit_threads()
    from models.anomaly.benchmarks.contenders import CONTENDERS
    from models.anomaly.benchmarks.shelf import BENCHMARKS
    from models.anomaly.detectors.shelf import DETECTORS

    known = {*CONTENDERS, *DETECTORS}
    contenders = detector or list(CONTENDERS)
    if strange := [one for one in contenders if one not in known]:
        raise UnknownName(f"no detector {strange[0]!r}: there are {', '.join(sorted(known))}")
    if name not in (*BENCHMARKS, ALL):
        raise UnknownName(f"no benchmark {name!r}: there are {', '.join(BENCHMARKS)} and {ALL}")
    if not folder.is_dir():
        raise UnknownName(f"--data {folder}: is no folder")
    reports = _run(list(BENCHMARKS) if name == ALL else [name], folder, contenders)
    if name == ALL and not detector:
        _write_page(page, reports)
    if as_json:
        _print_json(name, reports)
        return
    for report in reports:
        _print_table(report)
    if name == ALL and not detector:
        typer.echo(f"written: {page}")


def _run(names: Sequence[str], folder: Path, contenders: Sequence[str]) -> "list[Report]":
    """Return the reports; of several benchmarks those without files are passed over."""
    from models.anomaly.benchmarks.protocol import LayoutMissing
    from models.anomaly.benchmarks.shelf import BENCHMARKS, count_steps, run_benchmark

    steps = {}
    for name in names:
        try:
            steps[name] = count_steps(BENCHMARKS[name], folder, contenders)
        except LayoutMissing as error:
            if len(names) == 1:
                raise
            sys.stderr.write(f"{error}: passed over\n")
    reports = []
    # The bar goes to standard error: standard output is for the figures.
    with typer.progressbar(length=sum(steps.values()), file=sys.stderr, label="") as bar:

        def tell(what: str) -> None:
            bar.label = f"{what:<24}"

        for name in steps:
            reports.append(run_benchmark(BENCHMARKS[name], folder, contenders, lambda: bar.update(1), tell))
    return reports


def _write_page(page: Path, reports: "Sequence[Report]") -> None:
    from importlib.metadata import version

    from models.anomaly.benchmarks.page import make_page

    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(make_page(reports, {name: version(name) for name in LIBRARIES}), encoding="utf-8")


def _print_json(name: str, reports: "Sequence[Report]") -> None:
    import msgspec

    results: dict[str, Any] = {report.benchmark: report.results for report in reports}
    shown = {
        "benchmark": name,
        "files": sum(report.files for report in reports),
        "results": results if name == ALL else results[name],
    }
    typer.echo(msgspec.json.encode(_without_nan(shown)).decode())


def _without_nan(value: Any) -> Any:
    """Return the value with None for what JSON cannot say."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _print_table(report: "Report") -> None:
    from models.anomaly.benchmarks.page import count_files, list_promises, make_table

    typer.echo(f"\n{report.benchmark}: {count_files(report)}")
    # Metrics down, detectors across: there are many metrics.
    _print_rows(list(zip(*make_table(report), strict=True)))
    if promises := list_promises(report):
        typer.echo("\nfalse alarms promised and realised")
        _print_rows(promises)


def _print_rows(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
