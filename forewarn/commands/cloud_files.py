"""`forewarn cloud import` and `forewarn cloud export`: recordings into the store, and out of it."""

import time
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from forewarn.commands.train import parse_instant
from models.words import say_instant

PROGRESS_S = 2.0
PARQUET = (".parquet", ".pq")

RecordingFile = Annotated[Path, typer.Argument(metavar="FILE.csv|FILE.parquet")]
MachineOption = Annotated[str, typer.Option("--machine", metavar="PATH", help="site/area/line/machine")]
ConfigOption = Annotated[Path, typer.Option("--config", metavar="FILE", help="the settings, cloud.yaml")]


def import_file(
    file: RecordingFile,
    machine: MachineOption,
    config: ConfigOption,
    columns: Annotated[
        str | None, typer.Option("--columns", help="the tags, parted by commas; all columns if not said")
    ] = None,
) -> None:
    """Store a recording: a column of times (timestamp, datetime) and a column per tag.

    A running cloud need not be stopped. Values that are stored already are overwritten by the same instant's.
    """
    from cloud.settings import CloudSettings
    from models.settings import load_settings
    from models.telemetry import MachinePath

    files = choose_format(file)
    path = MachinePath.parse(machine)
    wanted = [name.strip() for name in columns.split(",")] if columns else None
    writer = load_settings(config, CloudSettings).store.build_writer()
    begun = time.monotonic()
    try:
        stored = files.import_file(file, path, writer, wanted, _Progress())
    finally:
        writer.close()
    typer.echo(
        f"{path}: {stored.rows:,} rows with {stored.values:,} values from {file} are stored "
        f"({say_instant(stored.first_ns)} to {say_instant(stored.last_ns)}, {time.monotonic() - begun:.1f} s)"
    )
    if stored.repeats:
        typer.echo(f"  {stored.repeats:,} rows repeat an instant of the file: the last one counts")


def export_file(
    file: RecordingFile,
    machine: MachineOption,
    config: ConfigOption,
    start: Annotated[str | None, typer.Option("--from", help="begin, as 2026-11-23T08:00:00Z")] = None,
    end: Annotated[str | None, typer.Option("--to", help="end, not included")] = None,
) -> None:
    """Write what is stored of a machine into a file, a column per tag.

    Parquet holds the quality of every reading and the tags' units too; CSV holds times and numbers only.
    """
    from cloud.machines import CardBox
    from cloud.settings import CloudSettings
    from models.settings import load_settings
    from models.telemetry import MachinePath

    files = choose_format(file)
    path = MachinePath.parse(machine)
    span = parse_instant(start), parse_instant(end)
    settings = load_settings(config, CloudSettings)
    units = {tag: card.unit for tag, card in CardBox(settings.machines).of(path).tags.items()}
    reader = settings.store.build_reader()
    try:
        rows = files.export_file(file, path, reader, *span, units)
    finally:
        reader.close()
    typer.echo(f"{path}: {rows:,} rows are in {file}")


def choose_format(file: Path) -> ModuleType:
    """Return the module that knows files of that name; raise `FileRejected` where its library is not here."""
    from cloud import csv_files
    from cloud.file_exchange import FileRejected

    if file.suffix.lower() not in PARQUET:
        return csv_files
    try:
        from cloud import parquet_files
    except ImportError as error:
        raise FileRejected(
            f"{file}: Parquet needs pyarrow, which is not installed here ({error}): "
            f"pip install 'forewarn[cloud,parquet]', or say {file.with_suffix('.csv').name}"
        ) from error
    return parquet_files


class _Progress:
    """Says every two seconds how far a long file is."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, rows: int) -> None:
        if time.monotonic() - self._said >= PROGRESS_S:
            self._said = time.monotonic()
            typer.echo(f"  {rows:,} rows ...", err=True)
