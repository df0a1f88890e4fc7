"""`forewarn edge probe`: in which register, type and byte order a Modbus machine keeps a known value."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edge.drivers.modbus.line_settings import ModbusLineSettings
    from edge.drivers.modbus.probe import Candidate, Words
    from edge.drivers.modbus.registers import Table

SHOWN_MAX = 12
TOLERANCE_SHARE = 0.01


def probe(
    host: Annotated[str, typer.Argument(metavar="HOST", help="the machine's address")],
    around: Annotated[int, typer.Option(metavar="N", help="the register's number in the manual, 40001")],
    expect: Annotated[float, typer.Option(metavar="VALUE", help="what the machine's own display shows now")],
    port: Annotated[int, typer.Option(help="where Modbus TCP listens")] = 502,
    unit: Annotated[int, typer.Option(min=0, max=255, help="the unit id")] = 1,
    tolerance: Annotated[float | None, typer.Option(min=0.0, help="how near; 1 % unless said")] = None,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.05, help="seconds for an answer")] = 1.0,
) -> None:
    """Read around a register and show what comes near the value, as tags to paste; exit 1 without any."""
    import asyncio

    from edge.drivers.modbus.line_settings import ModbusLineSettings
    from edge.drivers.modbus.probe import find_candidates, list_places

    near = abs(expect) * TOLERANCE_SHARE if tolerance is None else tolerance
    places = list_places(around, expect)
    line = ModbusLineSettings(host=host, port=port, unit_id=unit)
    words = asyncio.run(_read(line, places, timeout_s))
    candidates = find_candidates(words, places, expect, near)
    typer.echo(describe_candidates(candidates, expect, near))
    raise typer.Exit(0 if candidates else 1)


def describe_candidates(candidates: Sequence["Candidate"], expected: float, tolerance: float) -> str:
    """Return the candidates as lines of YAML, the likeliest first, each with the value that it gives."""
    from edge.drivers.modbus.probe import write_tag

    if not candidates:
        return (
            f"nothing there comes within {tolerance:g} of {expected:g}: has the value changed meanwhile, is "
            "it kept in other units (say --expect in those), or does it need a wider --tolerance?"
        )
    shown = candidates[:SHOWN_MAX]
    lines = [write_tag(candidate, f"value_{number}") for number, candidate in enumerate(shown, 1)]
    width = max(len(line) for line in lines)
    told = [
        f"# within {tolerance:g} of {expected:g}, the likeliest first: read again once the value has changed"
    ]
    told += [f"{line:<{width}}  # {one.value:g}" for line, one in zip(lines, shown, strict=True)]
    more = len(candidates) - len(shown)
    return "\n".join(
        told + ([f"# and {more} less likely: a smaller --tolerance shows fewer"] if more else [])
    )


async def _read(
    settings: "ModbusLineSettings", places: Mapping["Table", Sequence[int]], timeout_s: float
) -> "Words":
    from edge.drivers.modbus.line import find_line
    from edge.drivers.modbus.probe import Visitor, read_around

    line, visitor = find_line(settings.line), Visitor(settings.unit_id)
    try:
        return await read_around(line, visitor, places, timeout_s)
    finally:
        line.release(visitor)
