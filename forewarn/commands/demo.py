"""`forewarn demo`."""

from pathlib import Path
from typing import Annotated

import typer

Option = typer.Option
CONSOLE_PORT = 8080


def demo(
    minutes: Annotated[float, Option(help="Length, 1 to 60.")] = 2.0,
    scenario: Annotated[
        str, Option(help="bearing, cavitation, misalignment, stuck-tag or healthy.")
    ] = "bearing",
    seed: Annotated[int | None, Option(help="Another seed, another plant.")] = None,
    port: Annotated[int | None, Option(help=f"Port of the console ({CONSOLE_PORT}, or a free one).")] = None,
    no_browser: Annotated[bool, Option("--no-browser", help="Do not open the console.")] = False,
    keep: Annotated[Path | None, Option(help="Keep everything (store, mails, logs) in this folder.")] = None,
    summary: Annotated[Path | None, Option(help="Write what happened as JSON here.")] = None,
) -> None:
    """A simulated plant wears out, and Forewarn says so: no server, no docker, no network."""
    from forewarn.demo.run import DemoOptions, run_demo

    run_demo(DemoOptions(minutes, scenario, seed, port, not no_browser, keep, summary))
