"""`forewarn edge plan`: the requests that a poll of each Modbus machine is made of."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forewarn.commands.edge_settings import load_edge

if TYPE_CHECKING:
    from edge.drivers.modbus.plan import LineLoad, PlannedRequest

TAGS_SHOWN_MAX = 4
BUSY_SHARE_MAX = 0.8


def plan(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="the settings, edge.yaml")],
    as_json: Annotated[
        bool, typer.Option("--json", help="one JSON object per request, then one per serial line")
    ] = False,
) -> None:
    """Show the requests of each Modbus machine. No machine is touched."""
    import msgspec

    from edge.drivers.modbus.plan import plan_requests, weigh_lines
    from edge.drivers.modbus.settings import ModbusMachineSettings

    machines = [machine for machine in load_edge(file).machines if isinstance(machine, ModbusMachineSettings)]
    requests = [request for machine in machines for request in plan_requests(machine)]
    if as_json:
        for one in [*requests, *weigh_lines(machines)]:
            typer.echo(msgspec.json.encode(one).decode())
    elif requests:
        typer.echo(describe_plan(requests))
        for load in weigh_lines(machines):
            typer.echo(describe_load(load))
    else:
        typer.echo("no machine here speaks Modbus: there are no requests to plan")


def describe_plan(requests: Sequence["PlannedRequest"]) -> str:
    """Return the requests as text, machine by machine, and beneath them how many there are."""
    lines: list[str] = []
    for machine, group in groupby(requests, key=lambda request: request.machine):
        asked = list(group)
        lines.append(f"{machine}  (unit {asked[0].unit_id} at {asked[0].line})")
        paced = len({request.interval_s for request in asked}) > 1
        lines += [
            f"  {_describe_request(request)}{f'  every {request.interval_s:g} s' if paced else ''}"
            for request in asked
        ]
    polled = sum(request.count for request in requests)
    unwanted = sum(request.read_through for request in requests)
    count = len(requests)
    noun = "request" if count == 1 else "requests"
    lines.append(f"{count} {noun} a poll for {polled} registers and bits, {unwanted} of them read through")
    return "\n".join(lines)


def describe_load(load: "LineLoad") -> str:
    """Return how busy a serial line will be, and the mend where that is too much."""
    line = (
        f"{load.line} at {load.baudrate} baud: {load.requests_per_s:.3g} requests a second keep it busy for "
        f"{load.busy_share:.0%} of the time, before the devices' own delays"
    )
    if load.busy_share < BUSY_SHARE_MAX:
        return line
    return f"{line}: too much; poll less often (interval_s), fewer tags, or raise the baudrate"


def _describe_request(request: "PlannedRequest") -> str:
    last = request.first + request.count - 1
    span = str(request.first) if request.count == 1 else f"{request.first}..{last}"
    shown = ", ".join(request.tags[:TAGS_SHOWN_MAX])
    more = len(request.tags) - TAGS_SHOWN_MAX
    through = f"  ({request.read_through} read through)" if request.read_through else ""
    return (
        f"function code {request.function_code}  {request.table:<8}  {span:<12}  {request.count:>4}  "
        f"{shown}{f' and {more} more' if more > 0 else ''}{through}"
    )
