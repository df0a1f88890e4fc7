"""The command line: finds the command, shows errors as messages, leaves with a code."""

import sys
import threading
from types import TracebackType

import typer

from forewarn.commands import cloud, demo, doctor, edge, models, simulate
from forewarn.faults import SEE_MORE, are_traces_wanted, ask_for_traces, describe_fault
from models.errors import ForewarnError

app = typer.Typer(
    name="forewarn",
    help="Tells a plant which machine will fail, why, and how long is left, before it does.",
    epilog="Every command takes --debug: more in the log, and stack traces.",
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
app.command("doctor")(doctor.doctor)


def main() -> None:
    """Run the command line; an expected error is one message and its exit code, and so is our own fault."""
    if "--debug" in sys.argv:
        sys.argv.remove("--debug")
        ask_for_traces()
    if not are_traces_wanted():
        sys.excepthook = explain_fault
        threading.excepthook = explain_thread_fault
    try:
        # Calling `app` itself would put typer's own hook in place of ours.
        typer.main.get_command(app)(prog_name="forewarn")
    except ForewarnError as error:
        if are_traces_wanted():
            raise
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)


def explain_fault(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say an exception that nobody expected in one line, and how to see more of it."""
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    sys.stderr.write(f"unexpected {describe_fault(error)}: {SEE_MORE}\n")


def explain_thread_fault(ended: threading.ExceptHookArgs) -> None:
    """The same for an exception that ends a thread."""
    if ended.exc_value is not None and not issubclass(ended.exc_type, SystemExit):
        explain_fault(ended.exc_type, ended.exc_value, ended.exc_traceback)
