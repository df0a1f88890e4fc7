"""`forewarn edge ...`: run the edge agent, check its settings, read its machines, look into its outbox."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from forewarn.commands import edge_browse, edge_check, edge_outbox, edge_trust
from forewarn.commands.edge_plan import plan
from forewarn.commands.edge_probe import probe
from forewarn.commands.edge_settings import choose_file, load_edge

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def edge() -> None:
    """What runs beside the machines."""


@app.command("run")
def run(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="the settings; edge.yaml of this folder unless said")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="the same")] = None,
    log_format: Annotated[
        Literal["auto", "text", "json"], typer.Option("--log-format", help="text on a terminal, else json")
    ] = "auto",
) -> None:
    """Read the machines and carry their values to the cloud. Ctrl-C or SIGTERM ends it in order."""
    chosen = choose_file(config, file)

    from edge.agent import run_edge
    from forewarn.logs import set_up_logs
    from models.settings import read_secrets

    settings = load_edge(chosen)
    read_secrets(settings)
    set_up_logs(log_format)
    run_edge(settings, chosen)


app.command("check")(edge_check.check)
app.command("read")(edge_check.read)
app.command("plan")(plan)
app.command("probe")(probe)
app.command("browse")(edge_browse.browse)
app.command("import")(edge_browse.import_tags)
app.command("trust")(edge_trust.trust)
app.add_typer(edge_outbox.app, name="outbox")
