"""`forewarn edge plan`: the requests that a poll of each Modbus machine is made of."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edge.drivers.modbus.plan import PlannedRequest

TAGS_SHOWN_MAX = 4


def plan(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="the settings, edge.yaml")],
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object per request")] = False,
) -> None:
    """Show what the Modbus machines would be asked, request by request, without touching one."""
    import msgspec

    from edge.drivers.modbus.plan import plan_requests
    from edge.drivers.modbus.settings import ModbusMachineSettings
    from edge.settings import EdgeSettings
    from models.settings import load_settings

    machines = load_settings(file, EdgeSettings).machines
    requests = [
        request
        for machine in machines
        if isinstance(machine, ModbusMachineSettings)
        for request in plan_requests(machine)
    ]
    if as_json:
        for request in requests:
            typer.echo(msgspec.json.encode(request).decode())
    elif requests:
        typer.echo(describe_plan(requests))
    else:
        typer.echo("no machine here speaks Modbus: there are no requests to plan")


def describe_plan(requests: Sequence["PlannedRequest"]) -> str:
    """Return the requests as text, machine by machine, and beneath them how many there are."""
    lines: list[str] = []
    machine = ""
    for request in requests:
        if request.machine != machine:
            machine = request.machine
            lines.append(f"{machine}  (unit {request.unit_id} at {request.line})")
        paces = {other.interval_s for other in requests if other.machine == machine}
        pace = f"  every {request.interval_s:g} s" if len(paces) > 1 else ""
        lines.append(f"  {_describe_request(request)}{pace}")
    polled = sum(request.count for request in requests)
    unwanted = sum(request.read_through for request in requests)
    count = len(requests)
    noun = "request" if count == 1 else "requests"
    lines.append(f"{count} {noun} a poll for {polled} registers and bits, {unwanted} of them read through")
    return "\n".join(lines)


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
