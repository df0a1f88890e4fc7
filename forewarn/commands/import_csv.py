"""`forewarn cloud import` and `forewarn cloud export`: recordings into the store, and out of it."""

import time
from pathlib import Path
from typing import Annotated

import typer

from forewarn.commands.train import parse_instant
from models.words import say_instant

PROGRESS_S = 2.0

CsvFile = Annotated[Path, typer.Argument(metavar="FILE.csv")]
MachineOption = Annotated[str, typer.Option("--machine", metavar="PATH", help="site/area/line/machine")]
ConfigOption = Annotated[Path, typer.Option("--config", metavar="FILE", help="the settings, cloud.yaml")]


def import_csv(
    file: CsvFile,
    machine: MachineOption,
    config: ConfigOption,
    columns: Annotated[
        str | None, typer.Option("--columns", help="the tags, parted by commas; all columns if not said")
    ] = None,
) -> None:
    """Store a recording: a column of times (timestamp, datetime) and a column per tag.

    A running cloud need not be stopped. Values that are stored already are overwritten by the same instant's.
    """
    from cloud import csv_files
    from cloud.settings import CloudSettings
    from models.settings import load_settings
    from models.telemetry import MachinePath

    path = MachinePath.parse(machine)
    wanted = [name.strip() for name in columns.split(",")] if columns else None
    writer = load_settings(config, CloudSettings).store.build_writer()
    begun = time.monotonic()
    try:
        stored = csv_files.import_csv(file, path, writer, wanted, _Progress())
    finally:
        writer.close()
    typer.echo(
        f"{path}: {stored.rows:,} rows with {stored.values:,} values from {file} are stored "
        f"({say_instant(stored.first_ns)} to {say_instant(stored.last_ns)}, {time.monotonic() - begun:.1f} s)"
    )
    if stored.repeats:
        typer.echo(f"  {stored.repeats:,} rows repeat an instant of the file: the last one counts")


def export_csv(
    file: CsvFile,
    machine: MachineOption,
    config: ConfigOption,
    start: Annotated[str | None, typer.Option("--from", help="begin, as 2026-11-23T08:00:00Z")] = None,
    end: Annotated[str | None, typer.Option("--to", help="end, not included")] = None,
) -> None:
    """Write what is stored of a machine into a file, a column per tag."""
    from cloud import csv_files
    from cloud.settings import CloudSettings
    from models.settings import load_settings
    from models.telemetry import MachinePath

    path = MachinePath.parse(machine)
    span = parse_instant(start), parse_instant(end)
    reader = load_settings(config, CloudSettings).store.build_reader()
    try:
        rows = csv_files.export_csv(file, path, reader, *span)
    finally:
        reader.close()
    typer.echo(f"{path}: {rows:,} rows are in {file}")


class _Progress:
    """Says every two seconds how far a long file is."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, rows: int) -> None:
        if time.monotonic() - self._said >= PROGRESS_S:
            self._said = time.monotonic()
            typer.echo(f"  {rows:,} rows ...", err=True)
