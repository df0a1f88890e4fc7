"""`forewarn edge browse` and `forewarn edge import`: from a server's nodes to the tags of edge.yaml."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forewarn.commands.edge_settings import load_edge

if TYPE_CHECKING:
    from edge.drivers.opcua.settings import OpcuaServerSettings


def browse(
    url: Annotated[str, typer.Argument(metavar="URL", help="opc.tcp://host:port")],
    wanted: Annotated[str, typer.Option("--filter", metavar="TEXT", help="only names that contain it")] = "",
    depth: Annotated[int, typer.Option(min=1, max=32, help="levels below the server's Objects")] = 8,
    nodes_max: Annotated[int, typer.Option(min=1, max=200_000, help="look at no more nodes")] = 20_000,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="write a list to pick tags from")] = None,
    yaml: Annotated[Path | None, typer.Option(metavar="FILE", help="write machines for edge.yaml")] = None,
    under: Annotated[str, typer.Option(metavar="SITE/AREA/LINE", help="where they stand")] = "site/area/line",
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="log in as its machine with this URL does")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object per variable")] = False,
) -> None:
    """Show what an OPC UA server measures. Names, node ids, types, values, units, ranges, status."""
    import asyncio

    import msgspec

    from edge.commands.tag_lists import make_rows, write_csv, write_entries, write_table
    from edge.drivers.opcua.survey import survey
    from models.telemetry import MachinePath

    MachinePath.parse(f"{under}/machine")
    server = _find_login(config, url)
    seen = asyncio.run(
        survey(server, wanted=wanted, levels_max=depth, nodes_max=nodes_max, tell=_tell_progress)
    )
    chosen = server.security
    rows = make_rows(seen.found, under, url, "none" if chosen is None else f"{chosen.policy}/{chosen.mode}")
    if csv is not None:
        _write(csv, write_csv(rows))
    if yaml is not None:
        _write(yaml, write_entries(rows))
    if as_json:
        for row in rows:
            typer.echo(msgspec.json.encode(row).decode())
    elif csv is None and yaml is None:
        typer.echo(write_table(rows))
    kind = "machines by the Machines folder" if seen.knows_machines else "machines by the top objects"
    typer.echo(f"{len(rows)} variables, {kind}", err=True)
    if not seen.is_complete:
        typer.echo("there is more: a larger --depth or --nodes-max shows it", err=True)


def import_tags(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="the list that browse wrote")],
    config: Annotated[Path, typer.Option("--config", metavar="FILE", help="the settings, edge.yaml")],
    write: Annotated[
        bool, typer.Option("--write", help="change the settings; without it only show how")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """Add the tags picked from a list to the settings. Comments stay; without --write it only shows how."""
    from edge.commands.tag_import import plan_import
    from edge.commands.tag_lists import read_csv

    edit = plan_import(read_csv(file), config)
    if as_json:
        if write and edit.difference:
            edit.write()
        told = {
            "file": str(config),
            "written": write and bool(edit.difference),
            "difference": edit.difference,
        }
        typer.echo(json.dumps(told))
        return
    if not edit.difference:
        typer.echo(f"{config} has all of them already")
        return
    typer.echo(edit.difference, nl=False)
    if write:
        edit.write()
        typer.echo(f"{config} is changed: an agent that runs with it reads the new tags within seconds")
    else:
        typer.echo("nothing is changed yet: add --write")


def _find_login(config: Path | None, url: str) -> "OpcuaServerSettings":
    from edge.drivers.opcua.settings import OpcuaMachineSettings, OpcuaServerSettings
    from models.settings import SettingsError, parse_settings

    if config is None:
        typer.echo(
            "without security: anyone on the network could read along (--config uses a login)", err=True
        )
        given = f"url: {json.dumps(url)}\nallow_insecure: true"
        return parse_settings(given, Path("command line"), OpcuaServerSettings)
    for machine in load_edge(config).machines:
        if isinstance(machine, OpcuaMachineSettings) and machine.url == url:
            return machine
    raise SettingsError(f"{config}: no machine has the url {url}: add one, or leave --config out")


def _tell_progress(nodes: int, variables: int) -> None:
    typer.echo(f"looked at {nodes} nodes, {variables} variables", err=True)


def _write(file: Path, text: str) -> None:
    from models.settings import SettingsError

    try:
        file.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise SettingsError(f"{file}: cannot be written ({error.strerror})") from error
    typer.echo(f"{file} is written", err=True)
