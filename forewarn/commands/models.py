"""`forewarn models ...`: train, show and try models, from files."""

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forewarn.commands import models_keys, models_report, models_versions
from forewarn.commands.models_benchmark import UnknownName, benchmark
from forewarn.commands.train import describe_card, limit_threads

if TYPE_CHECKING:
    from models.anomaly.bundle import Bundle
    from models.anomaly.material import Wishes
    from models.anomaly.tables import TagTable

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
    conditions: Annotated[
        list[str] | None,
        typer.Option("--condition", help="A running condition, such as 'speed > 50'; may be repeated."),
    ] = None,
    load_tags: Annotated[
        list[str] | None,
        typer.Option("--load-tag", help="A tag in whose values they are looked for instead."),
    ] = None,
    settle_s: Annotated[
        float, typer.Option("--settle-s", min=0.0, help="After a change nothing is judged for so long.")
    ] = 60.0,
) -> None:
    """Learn what normal is from a file in which the machine runs well."""
    limit_threads()
    from models.anomaly.bundle import save_bundle
    from models.anomaly.tables import read_table

    check_detector(detector)
    table = read_table(file, [name.strip() for name in columns.split(",")] if columns else None)
    trained = _learn(
        machine,
        table.head(rows) if rows else table,
        read_wishes(conditions or [], load_tags or [], settle_s),
        grid_s=grid_s,
        base_rows=base_rows,
        detector=detector,
        episodes_per_month=episodes,
    )
    folder = save_bundle(bundle, trained)
    typer.echo(describe_card(trained.card))
    typer.echo(f"  kept in {folder}")


def _learn(
    machine: str, table: "TagTable", wishes: "Wishes", *, grid_s: float | None, **asked: Any
) -> "Bundle":
    import time

    from models.anomaly.tables import find_step_s
    from models.anomaly.training import train_bundle
    from models.telemetry import MachinePath

    return train_bundle(
        str(MachinePath.parse(machine)),
        table.timestamps,
        table.values,
        {},
        grid_s=grid_s or find_step_s(table),
        trained_ns=time.time_ns(),
        wishes=wishes,
        **asked,
    )


def check_detector(name: str) -> None:
    """Raise `UnknownName` where the shelf has no such detector."""
    from models.anomaly.detectors.shelf import DETECTORS

    if name not in DETECTORS:
        raise UnknownName(f"no detector {name!r}: there are {', '.join(DETECTORS)}")


def read_wishes(conditions: list[str], load_tags: list[str], settle_s: float) -> "Wishes":
    """Return how the machine is run; raise `ConditionRejected` for what is no condition."""
    from models.anomaly.conditions import parse_condition
    from models.anomaly.material import Wishes
    from models.anomaly.running import RunningPlan

    return Wishes(RunningPlan([parse_condition(text) for text in conditions], load_tags, settle_s))


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
