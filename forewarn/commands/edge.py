"""`forewarn edge ...`: run the edge agent, check its settings, read its machines, look into its outbox."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forewarn.commands import edge_browse, edge_trust
from forewarn.commands.edge_plan import plan
from forewarn.commands.edge_probe import probe

if TYPE_CHECKING:
    from edge.settings import EdgeSettings

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
outbox_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(outbox_app, name="outbox")
app.command("browse")(edge_browse.browse)
app.command("import")(edge_browse.import_tags)
app.command("trust")(edge_trust.trust)
app.command("plan")(plan)
app.command("probe")(probe)

SettingsFile = Annotated[Path, typer.Argument(metavar="FILE", help="the settings, edge.yaml")]


@app.callback()
def edge() -> None:
    """What runs beside the machines."""


@outbox_app.callback()
def outbox() -> None:
    """What waits on this gateway until the cloud has it."""


@app.command("run")
def run(
    config: Annotated[Path, typer.Option("--config", metavar="FILE", help="the settings, edge.yaml")],
    log_format: Annotated[str, typer.Option("--log-format", help="auto, text or json")] = "auto",
) -> None:
    """Read the machines and carry their values to the cloud, until told to stop."""
    from edge.agent import run_edge
    from forewarn.logs import set_up_logs
    from models.settings import read_secrets

    settings = _load(config)
    read_secrets(settings)
    set_up_logs("json" if log_format == "json" else "text" if log_format == "text" else "auto")
    run_edge(settings, config)


@app.command("check")
def check(file: SettingsFile) -> None:
    """Check the settings without touching a machine; exit 3 with every mistake."""
    from edge.commands.reports import describe_clock, describe_settings
    from edge.polling.clock import is_clock_synchronised
    from models.link import check_credentials

    settings = _load(file)
    for broker in settings.brokers:
        check_credentials(broker)
    typer.echo(describe_settings(settings))
    if warning := describe_clock(synchronised=is_clock_synchronised()):
        typer.echo(warning)


@app.command("read")
def read(
    file: SettingsFile,
    machine: Annotated[str | None, typer.Option(metavar="PATH", help="only this machine")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object per tag")] = False,
) -> None:
    """Read every machine once and show its tags; exit 1 when a machine or a tag cannot be read."""
    import asyncio
    import time

    from edge.commands.reading import pick_machines, read_machines
    from edge.commands.reports import describe_readings, encode_readings
    from forewarn.logs import set_up_logs

    set_up_logs("text")  # what the drivers warn of goes beside the readings, not into them
    readings = asyncio.run(read_machines(pick_machines(_load(file), machine)))
    now_ns = time.time_ns()
    typer.echo(encode_readings(readings, now_ns) if as_json else describe_readings(readings, now_ns))
    raise typer.Exit(0 if all(reading.is_good for reading in readings) else 1)


@outbox_app.command("show")
def show_outbox(file: SettingsFile) -> None:
    """Show what waits in the outbox, also while the agent runs."""
    from edge.commands.reports import describe_outbox
    from edge.outbox.glance import glance

    settings = _load(file)
    typer.echo(describe_outbox(glance(settings.outbox.path), settings.outbox.bytes_max))


@outbox_app.command("rescue")
def rescue_outbox(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="an outbox set aside: outbox.sqlite.bad-<time>")
    ],
    config: Annotated[Path, typer.Option("--config", metavar="FILE", help="the settings, edge.yaml")],
    write: Annotated[bool, typer.Option("--write", help="do it; without this it is only shown")] = False,
) -> None:
    """Put what a damaged outbox still holds into the outbox of now, from where it goes to the cloud."""
    import time

    from edge.commands.reports import describe_survey
    from edge.outbox.outbox import Outbox
    from edge.outbox.rescue import rescue, survey

    settings = _load(config)
    typer.echo(describe_survey(survey(file)))
    if not write:
        typer.echo("nothing was changed; stop the edge agent and add --write to bring this into its outbox")
        return
    chosen = settings.outbox
    outbox = Outbox(chosen.path, settings.gateway, chosen.bytes_max, chosen.payload_bytes_max)
    outbox.open()
    try:
        batches, values = rescue(file, outbox, time.time_ns())
    finally:
        outbox.close()
    typer.echo(
        f"{values} values wait in {chosen.path} now, as {batches} batches: start the edge agent, and delete "
        f"{file} once they are delivered"
    )


def _load(file: Path) -> "EdgeSettings":
    from edge.settings import EdgeSettings
    from models.settings import load_settings

    return load_settings(file, EdgeSettings)
