"""The command line: finds the command, shows errors as messages, leaves with a code."""

import sys

import typer

from forewarn.commands import cloud, demo, edge, models, simulate
from models.errors import ForewarnError

app = typer.Typer(
    name="forewarn",
    help="Tells a plant which machine will fail, why, and how long is left, before it does.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(edge.app, name="edge")
app.add_typer(cloud.app, name="cloud")
app.add_typer(models.app, name="models")
app.command("simulate")(simulate.simulate)
app.command("demo")(demo.demo)


def main() -> None:
    """Run the command line; an expected error is one message and its exit code."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
    try:
        app(prog_name="forewarn")
    except ForewarnError as error:
        if debug:
            raise
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
