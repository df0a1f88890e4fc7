"""`forewarn edge probe`: in which register, type and byte order a Modbus machine keeps a known value."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from models.errors import ForewarnError

if TYPE_CHECKING:
    from edge.drivers.modbus.line_settings import ModbusLineSettings
    from edge.drivers.modbus.probe import Candidate, Words
    from edge.drivers.modbus.registers import Table

SHOWN_MAX = 12
TOLERANCE_SHARE = 0.01


class WayUnclear(ForewarnError):
    """The options do not say a way to a machine."""


def probe(
    where: Annotated[
        str, typer.Argument(metavar="HOST|PORT", help="its address, or a serial port: /dev/ttyUSB0")
    ],
    around: Annotated[int, typer.Option(metavar="N", help="the register's number in the manual, 40001")],
    expect: Annotated[float, typer.Option(metavar="VALUE", help="what the machine's own display shows now")],
    port: Annotated[int | None, typer.Option(help="where it listens; 502, or 802 with TLS")] = None,
    unit: Annotated[int, typer.Option(min=0, max=255, help="the unit id")] = 1,
    tolerance: Annotated[float | None, typer.Option(min=0.0, help="how near; 1 % unless said")] = None,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.05, help="seconds for an answer")] = 1.0,
    transport: Annotated[
        Literal["tcp", "rtu-over-tcp", "tls"] | None,
        typer.Option(help="how a host is spoken to; tcp, or tls with --ca-file"),
    ] = None,
    baudrate: Annotated[int | None, typer.Option(help="of a serial port; 19200 unless said")] = None,
    parity: Annotated[str | None, typer.Option(help="of a serial port: even, odd or none; even")] = None,
    stopbits: Annotated[int | None, typer.Option(help="of a serial port: 1 or 2; 1")] = None,
    ca_file: Annotated[Path | None, typer.Option(help="who vouches for the machine's certificate")] = None,
    server_name: Annotated[str | None, typer.Option(help="what its certificate names, if not HOST")] = None,
    certificate_file: Annotated[Path | None, typer.Option(help="ours, if the machine asks for one")] = None,
    key_file: Annotated[Path | None, typer.Option(help="of our certificate")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object per reading")] = False,
) -> None:
    """Find a known value in a Modbus machine's registers. Shows tags to paste; exit 1 without any."""
    import asyncio

    from edge.drivers.modbus.probe import find_candidates, list_places

    serial = {"baudrate": baudrate, "parity": parity, "stopbits": stopbits}
    tls = {
        "ca_file": ca_file,
        "server_name": server_name,
        "certificate_file": certificate_file,
        "key_file": key_file,
    }
    line = choose_line(where, transport, _keep_said(serial), _keep_said(tls), {"port": port, "unit_id": unit})
    near = abs(expect) * TOLERANCE_SHARE if tolerance is None else tolerance
    places = list_places(around, expect)
    words = asyncio.run(_read(line, places, timeout_s))
    candidates = find_candidates(words, places, expect, near)
    if as_json:
        for candidate in candidates:
            typer.echo(_write_json(candidate))
    else:
        typer.echo(describe_candidates(candidates, expect, near))
    raise typer.Exit(0 if candidates else 1)


def choose_line(
    where: str, transport: str | None, serial: dict[str, Any], tls: dict[str, Any], more: dict[str, Any]
) -> "ModbusLineSettings":
    """Return how to reach the machine; raise `WayUnclear` with what the options lack.

    A path is a serial port of this computer; what is said of TLS without a transport means it.
    """
    from pydantic import ValidationError

    from edge.drivers.modbus.line_settings import ModbusLineSettings

    line = _keep_said(more)
    if where.startswith("/"):
        if transport is not None:
            raise WayUnclear(f"{where} is a serial port: leave --transport out, or name a host")
        line |= {"transport": "rtu", "serial": {"device": where, **serial}}
    else:
        line |= {"transport": transport or ("tls" if tls else "tcp"), "host": where}
        if serial:
            raise WayUnclear(f"--{next(iter(serial))} is for a serial port, and {where} is a host")
    if (tls or transport == "tls") and "ca_file" not in tls:
        raise WayUnclear("TLS needs to know whose word to take for the machine: --ca-file plant-ca.pem")
    if tls:
        line["tls"] = tls
    try:
        return ModbusLineSettings.model_validate(line)
    except ValidationError as error:
        wrong = error.errors()[0]
        option = "--" + str(wrong["loc"][-1]).removesuffix("_id").replace("_", "-")
        raise WayUnclear(f"{option}: {wrong['msg'].removeprefix('Value error, ')}") from error


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


def _write_json(candidate: "Candidate") -> str:
    import msgspec

    from edge.drivers.modbus.probe import list_fields

    row = {**dict(list_fields(candidate)), "value": candidate.value, "points": candidate.points}
    return msgspec.json.encode(row).decode()


def _keep_said(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


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
