"""`forewarn models report`: what a machine's model knows, promised and found, as one HTML page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forewarn.commands.train import limit_threads, parse_instant
from models.errors import ForewarnError

if TYPE_CHECKING:
    from cloud.reports.facts import Report
    from cloud.watch.training import Span


class ReportUnclear(ForewarnError):
    """It is not said of what the report shall be; the message says how to."""

    exit_code = 2


def report(
    machine: Annotated[str | None, typer.Option("--machine", help="site/area/line/machine")] = None,
    config: Annotated[
        Path, typer.Option("--config", metavar="FILE", help="The settings; cloud.yaml if not said.")
    ] = Path("cloud.yaml"),
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE.html", help="The page; MACHINE-report.html if not said."),
    ] = None,
    days: Annotated[
        float, typer.Option("--days", min=0.001, help="How far back from the newest value, without --from.")
    ] = 30.0,
    start: Annotated[
        str | None, typer.Option("--from", help="Begin of what is shown, as 2026-11-23T08:00:00Z.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="End of what is shown, not included.")] = None,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", metavar="DIR", help="With --values: a bundle without a store.")
    ] = None,
    values: Annotated[
        Path | None, typer.Option("--values", metavar="FILE.csv", help="With --bundle: what it shall judge.")
    ] = None,
) -> None:
    """Write a page on a machine's model: grades, scores, alerts, forewarning, promised and real false alarms.

    One file for the file server or the printer, which asks nobody for anything. With --bundle and --values
    it is made of a file of values instead of a store, such as `forewarn models train` learns from.
    """
    limit_threads()
    if (bundle is None) != (values is None) or (bundle is None) == (machine is None):
        raise ReportUnclear("say --machine PATH, or --bundle DIR with --values FILE.csv")
    from cloud.reports.page import render_report

    if bundle is not None and values is not None:
        from cloud.reports.from_file import gather_from_file

        made = gather_from_file(bundle, values)
    else:
        made = _gather(config, machine or "", (parse_instant(start), parse_instant(end)), days)
    place = output or Path(f"{made.path.split('/')[-1]}-report.html")
    try:
        place.write_text(render_report(made), encoding="utf-8")
    except OSError as error:
        raise ReportUnclear(
            f"{place}: cannot be written ({error.strerror}): name another --output"
        ) from error
    typer.echo(f"{place}: {made.title}, {made.span}")


def _gather(config: Path, machine: str, span: "Span", days: float) -> "Report":
    from cloud.reports.gathering import gather_report
    from cloud.settings import CloudSettings
    from models.settings import load_settings
    from models.telemetry import MachinePath

    return gather_report(load_settings(config, CloudSettings), MachinePath.parse(machine), *span, days=days)
