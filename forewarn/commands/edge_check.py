"""`forewarn edge check` and `forewarn edge read`: are the settings right, and what do the machines say?"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forewarn.commands.edge_settings import NoSettings, SettingsFile, load_edge

if TYPE_CHECKING:
    from edge.settings import EdgeSettings
    from forewarn.doctor.findings import Finding


def check(
    file: SettingsFile,
    online: Annotated[
        bool, typer.Option("--online", help="also connect to broker and machines, and read every tag once")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """Check the settings, and all they lead to. Exit 3 with every mistake, 1 when something is not there."""
    from models.settings import SettingsError

    try:
        settings = _load_whole(file)
    except (NoSettings, SettingsError) as error:
        if not as_json:
            raise
        from edge.commands.reports import encode_mistakes

        typer.echo(encode_mistakes(str(error).splitlines()))
        raise typer.Exit(error.exit_code) from error
    findings = _look_online(settings) if online else []
    _tell(settings, findings, as_json=as_json)
    raise typer.Exit(1 if any(one.verdict == "fail" for one in findings) else 0)


def _load_whole(file: Path) -> "EdgeSettings":
    from models.link import check_credentials
    from models.settings import read_secrets

    settings = load_edge(file)
    read_secrets(settings)
    for broker in settings.brokers:
        check_credentials(broker)
    return settings


def _look_online(settings: "EdgeSettings") -> list["Finding"]:
    from forewarn.doctor.edge import check_edge
    from forewarn.logs import set_up_logs

    set_up_logs("text")  # what the drivers warn of goes beside the findings, not into them
    return check_edge(settings)


def _tell(settings: "EdgeSettings", findings: Sequence["Finding"], *, as_json: bool) -> None:
    from edge.commands.reports import describe_clock, describe_settings, encode_check
    from edge.polling.clock import is_clock_synchronised
    from forewarn.doctor.findings import describe_findings

    synchronised = is_clock_synchronised()
    if as_json:
        typer.echo(encode_check(settings, synchronised, [one._asdict() for one in findings]))
        return
    typer.echo(describe_settings(settings))
    if warning := describe_clock(synchronised=synchronised):
        typer.echo(warning)
    if findings:
        typer.echo(f"\n{describe_findings(findings)}")


def read(
    file: SettingsFile,
    machine: Annotated[str | None, typer.Option(metavar="PATH", help="only this machine")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="go on until Ctrl-C")] = False,
    every_s: Annotated[float, typer.Option("--every", min=0.2, help="with --watch: seconds")] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object per tag")] = False,
) -> None:
    """Show what the machines say now. Exit 1 when a machine or a tag cannot be read.

    Talks to the machines only: neither broker nor outbox is touched.
    """
    import asyncio
    import time

    from edge.commands.reading import pick_machines, read_machines
    from edge.commands.reports import describe_readings, encode_readings
    from forewarn.logs import set_up_logs

    set_up_logs("text")  # what the drivers warn of goes beside the readings, not into them
    chosen = pick_machines(load_edge(file), machine)
    if watch:
        _watch(chosen, every_s, as_json=as_json)
        return
    readings = asyncio.run(read_machines(chosen))
    now_ns = time.time_ns()
    typer.echo(encode_readings(readings, now_ns) if as_json else describe_readings(readings, now_ns))
    raise typer.Exit(0 if all(reading.is_good for reading in readings) else 1)


def _watch(machines: Sequence[object], every_s: float, *, as_json: bool) -> None:
    import asyncio
    import sys
    import time

    from edge.commands.reading import Reading
    from edge.commands.reports import describe_readings, encode_readings
    from edge.commands.watching import watch_machines
    from models.words import say_instant

    is_terminal = sys.stdout.isatty()

    def show(readings: Sequence[Reading]) -> None:
        now_ns = time.time_ns()
        if as_json:
            typer.echo(encode_readings(readings, now_ns))
            return
        # On a terminal the table stays in its place: home, write over, clear what is below.
        lines = [f"{say_instant(now_ns)}  (Ctrl-C ends)", *describe_readings(readings, now_ns).splitlines()]
        text = "\n".join(f"{line}\x1b[K" for line in lines) if is_terminal else "\n".join(lines)
        typer.echo(f"\x1b[H{text}\n\x1b[J" if is_terminal else f"{text}\n", nl=False)

    if is_terminal and not as_json:
        typer.echo("\x1b[2J", nl=False)
    asyncio.run(watch_machines(machines, every_s, show))  # type: ignore[arg-type]  # typed where it is light
