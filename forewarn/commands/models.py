"""`forewarn models ...`: train, show and try models, from files."""

import csv
import sys
from pathlib import Path
from typing import Annotated

import typer

from forewarn.commands import models_keys, models_report, models_versions
from forewarn.commands.models_benchmark import UnknownName, benchmark
from forewarn.commands.train import describe_card, limit_threads

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.command()(benchmark)
app.command("list")(models_versions.list_models)
app.command()(models_versions.promote)
app.command()(models_versions.rollback)
app.command()(models_versions.reset)
app.command()(models_report.report)
app.command()(models_keys.sign)
app.add_typer(models_keys.app, name="keys")

TableFile = Annotated[
    Path, typer.Argument(metavar="FILE.csv", help="A column of times (timestamp), and one per tag.")
]
BundleFolder = Annotated[Path, typer.Option("--bundle", metavar="DIR", help="The folder of the bundle.")]


@app.callback()
def models() -> None:
    """Train and judge models."""


@app.command()
def train(
    file: TableFile,
    bundle: BundleFolder,
    machine: Annotated[str, typer.Option("--machine", help="site/area/line/machine")] = "file/file/file/file",
    columns: Annotated[
        str | None, typer.Option("--columns", help="The tags, parted by commas; all columns if not said.")
    ] = None,
    rows: Annotated[int | None, typer.Option("--rows", help="Learn from the first rows only.")] = None,
    grid_s: Annotated[
        float | None, typer.Option("--grid-s", help="Step of the grid; the file's own step if not said.")
    ] = None,
    base_rows: Annotated[int, typer.Option("--base-rows", help="Rows of the shortest window.")] = 5,
    detector: Annotated[
        str, typer.Option("--detector", help="fuse, conditional, isolation_forest, knn, pca, robust_zscore")
    ] = "fuse",
    episodes: Annotated[
        float, typer.Option("--false-alarms", help="Promised a month, by every detector but conditional.")
    ] = 1.0,
) -> None:
    """Learn what normal is from a file in which the machine runs well."""
    limit_threads()
    import time

    from models.anomaly.bundle import save_bundle
    from models.anomaly.detectors.shelf import DETECTORS
    from models.anomaly.tables import find_step_s, read_table
    from models.anomaly.training import train_bundle
    from models.telemetry import MachinePath

    if detector not in DETECTORS:
        raise UnknownName(f"no detector {detector!r}: there are {', '.join(DETECTORS)}")
    path = MachinePath.parse(machine)
    table = read_table(file, [name.strip() for name in columns.split(",")] if columns else None)
    table = table.head(rows) if rows else table
    trained = train_bundle(
        str(path),
        table.timestamps,
        table.values,
        {},
        grid_s=grid_s or find_step_s(table),
        trained_ns=time.time_ns(),
        base_rows=base_rows,
        detector=detector,
        episodes_per_month=episodes,
    )
    folder = save_bundle(bundle, trained)
    typer.echo(describe_card(trained.card))
    typer.echo(f"  kept in {folder}")


@app.command()
def show(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder of a bundle.")],
    config: models_keys.ConfigOption = None,
) -> None:
    """Say what a bundle is and where it comes from."""
    limit_threads()
    from models.anomaly.bundle import find_bundle, load_bundle

    typer.echo(describe_card(load_bundle(find_bundle(bundle), models_keys.find_keys(config)).card))


@app.command()
def score(
    file: TableFile,
    bundle: BundleFolder,
    config: models_keys.ConfigOption = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Print every row, not only changes.")] = False,
) -> None:
    """Judge a file with a bundle: one line of CSV per row (time, score, limit, strange, tags to blame)."""
    limit_threads()
    from models.anomaly.bundle import find_bundle, load_bundle
    from models.anomaly.tables import read_table, score_table

    loaded = load_bundle(find_bundle(bundle), models_keys.find_keys(config))
    csv.writer(sys.stdout, lineterminator="\n").writerows(
        score_table(loaded, read_table(file, loaded.card.columns), every=every)
    )
    config: models_keys.ConfigOption = None,
    *,
