"""`forewarn cloud setup-store` and `check-store`: make the store ready, and look whether it is whole."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forewarn.commands.train import parse_instant

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from cloud.settings import CloudSettings
    from cloud.stores.shelf import StoreSettings

ConfigOption = Annotated[Path, typer.Option("--config", metavar="FILE", help="the settings, cloud.yaml")]


def setup_store(
    config: ConfigOption,
    start: Annotated[
        str | None, typer.Option("--recompute-from", help="roll-ups anew from here, as 2026-11-23T08:00:00Z")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--recompute-to", help="end, not included; now if not said")
    ] = None,
) -> None:
    """Make what is missing in the store: database or bucket, retention, roll-ups. Say what was done.

    May be run again at any time: what is there already stays as it is.
    """
    import time

    store = _load_store(config)
    done = store.set_up()
    first_ns, last_ns = parse_instant(start), parse_instant(end)
    if first_ns is not None:
        done += store.recompute(first_ns, time.time_ns() if last_ns is None else last_ns)
    for line in done:
        typer.echo(line)


def check_store(config: ConfigOption) -> None:
    """Look through the whole store for damage; exit 1 when there is any.

    A running cloud need not be stopped. The embedded store's every chunk is read; of InfluxDB, whose files
    are its own, is told which version answers and what it has.
    """
    findings = _load_store(config).check()
    for line in findings.lines:
        typer.echo(line)
    raise typer.Exit(1 if findings.damaged else 0)


def ask_store(settings: "CloudSettings", engine: "Engine") -> None:
    """Have the store say now how many values it has, today's included."""
    import time
    from contextlib import closing

    from cloud.ingest.read_back import read_back

    store = settings.store
    with closing(store.build_reader()) as reader:
        read_back(engine, reader, now_ns=time.time_ns(), keeps_days=store.retention_days, today=True)


def _load_store(file: Path) -> "StoreSettings":
    from cloud.settings import CloudSettings
    from models.settings import load_settings

    return load_settings(file, CloudSettings).store
