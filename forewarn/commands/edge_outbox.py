"""`forewarn edge outbox ...`: what waits on a gateway, and what can be rescued of a damaged outbox."""

import time
from pathlib import Path
from typing import Annotated

import typer

from forewarn.commands.edge_settings import SettingsFile, load_edge

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

AsJson = Annotated[bool, typer.Option("--json", help="one JSON object")]


@app.callback()
def outbox() -> None:
    """What waits on this gateway until the cloud has it."""


@app.command("show")
def show_outbox(file: SettingsFile, as_json: AsJson = False) -> None:
    """Show what waits in the outbox, also while the agent runs."""
    from edge.commands.reports import describe_outbox, encode_outbox
    from edge.outbox.glance import glance

    chosen = load_edge(file).outbox
    seen = glance(chosen.path)
    typer.echo(encode_outbox(seen, chosen.bytes_max) if as_json else describe_outbox(seen, chosen.bytes_max))


@app.command("rescue")
def rescue_outbox(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="an outbox set aside: outbox.sqlite.bad-<time>")
    ],
    config: Annotated[Path, typer.Option("--config", metavar="FILE", help="the settings, edge.yaml")],
    write: Annotated[bool, typer.Option("--write", help="do it; without this it is only shown")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring what a damaged outbox holds into that of now. From there it goes to the cloud."""
    import msgspec

    from edge.commands.reports import describe_survey
    from edge.outbox.outbox import Outbox
    from edge.outbox.rescue import rescue, survey

    settings = load_edge(config)
    seen = survey(file)
    if not as_json:
        typer.echo(describe_survey(seen))
    batches = values = 0
    if write:
        chosen = settings.outbox
        into = Outbox(chosen.path, settings.gateway, chosen.bytes_max, chosen.payload_bytes_max)
        into.open()
        try:
            batches, values = rescue(file, into, time.time_ns())
        finally:
            into.close()
    if as_json:
        told = {"found": seen, "written": write, "batches": batches, "values": values}
        typer.echo(msgspec.json.encode(told).decode())
    elif write:
        typer.echo(
            f"{values} values wait in {settings.outbox.path} now, as {batches} batches: start the edge "
            f"agent, and delete {file} once they are delivered"
        )
    else:
        typer.echo("nothing was changed; stop the edge agent and add --write to bring this into its outbox")
