"""`forewarn simulate`: a plant that wears out, its simulated past, or the replay of a recording."""

import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import asyncio

    from edge.simulator.plant import PlantSettings

Option = typer.Option
HISTORY_S = 1800.0


def simulate(
    *,
    config: Annotated[Path, Option(help="The plant.")] = Path("configs/demo/plant.yaml"),
    opcua_port: Annotated[int | None, Option(help="Instead of the plant's; 0: a free one.")] = None,
    modbus_port: Annotated[int | None, Option(help="Instead of the plant's; 0: a free one.")] = None,
    seed: Annotated[int | None, Option(help="Instead of the plant's.")] = None,
    start_at: Annotated[float | None, Option(help="The start, in seconds since 1970 (now).")] = None,
    fault: Annotated[str | None, Option(help="bearing, cavitation, misalignment or stuck-tag.")] = None,
    machine: Annotated[str | None, Option(help="The machine of the fault, or of the replay.")] = None,
    onset: Annotated[float, Option(help="The fault begins: seconds after the start.")] = 30.0,
    failure: Annotated[float | None, Option(help="The machine fails: seconds after the start (100).")] = None,
    tag: Annotated[str | None, Option(help="The tag that --fault stuck-tag freezes.")] = None,
    edge_config: Annotated[Path | None, Option(help="Write the machines of edge.yaml here.")] = None,
    cloud_config: Annotated[Path | None, Option(help="Write the machines of cloud.yaml here.")] = None,
    csv_dir: Annotated[Path | None, Option(help="Write the healthy past here and end.")] = None,
    history: Annotated[float, Option(help="Seconds of past for --csv-dir.")] = HISTORY_S,
    until: Annotated[float | None, Option(help="End of the past, in seconds since 1970 (now).")] = None,
    interval: Annotated[float, Option(help="Seconds between the rows of --csv-dir.")] = 0.5,
) -> None:
    """Serve a simulated plant over OPC UA and Modbus, on this computer only."""
    import time  # noqa: PLC0415  # `forewarn --help` loads no more than it shows

    from edge.simulator.plant import PlantSettings  # noqa: PLC0415
    from models.settings import load_settings  # noqa: PLC0415

    plant = load_settings(config, PlantSettings)
    if seed is not None:
        plant = plant.changed(seed=seed)
    if csv_dir is not None:
        _write_past(plant, history, interval, time.time() if until is None else until, csv_dir)
        return
    plant = _choose_ports(plant, opcua_port, modbus_port)
    if fault is not None:
        plant = _add_fault(plant, kind=fault, machine=machine, onset_s=onset, failure_s=failure, tag=tag)
    _serve(plant, time.time() if start_at is None else start_at, edge_config, cloud_config)


def _write_past(
    plant: "PlantSettings", history_s: float, interval_s: float, until_s: float, folder: Path
) -> None:
    from edge.simulator.simulation import write_past  # noqa: PLC0415

    for file in write_past(plant, history_s, interval_s, round(until_s * 1e9), folder):
        typer.echo(file)


def _choose_ports(plant: "PlantSettings", opcua_port: int | None, modbus_port: int | None) -> "PlantSettings":
    from edge.simulator.plant import PortSettings  # noqa: PLC0415

    if opcua_port is not None:
        plant = plant.changed(opcua=PortSettings(port=opcua_port))
    if modbus_port is not None:
        plant = plant.changed(modbus=PortSettings(port=modbus_port))
    return plant


def _add_fault(
    plant: "PlantSettings",
    *,
    kind: str,
    machine: str | None,
    onset_s: float,
    failure_s: float | None,
    tag: str | None,
) -> "PlantSettings":
    """Return the plant with one fault in place of its own; raise `SettingsError`."""
    from pydantic import ValidationError  # noqa: PLC0415

    from edge.simulator.plant import choose_machine  # noqa: PLC0415
    from models.settings import SettingsError  # noqa: PLC0415

    if failure_s is None and kind != "stuck-tag":
        failure_s = onset_s + 70.0
    fault = {
        "machine": machine or choose_machine(kind, plant.machines) or plant.machines[0].path,
        "kind": kind,
        "onset_s": onset_s,
        "failure_s": failure_s,
        "tag": tag,
    }
    try:
        return plant.changed(faults=(fault,))
    except ValidationError as error:
        reasons = "; ".join(details["msg"].removeprefix("Value error, ") for details in error.errors())
        raise SettingsError(f"--fault {kind}: {reasons}") from error


def _serve(
    plant: "PlantSettings", start_s: float, edge_config: Path | None, cloud_config: Path | None
) -> None:
    from edge.simulator.live import LivePlant  # noqa: PLC0415
    from edge.simulator.sections import Section, list_cloud_machines, write_section  # noqa: PLC0415

    def tell_ready(ready: Mapping[str, Any], machines: Section) -> None:
        if edge_config is not None:
            edge_config.write_text(write_section(machines), encoding="utf-8")
        if cloud_config is not None:
            cloud_config.write_text(write_section(list_cloud_machines(plant)), encoding="utf-8")
        _print_json(ready)

    _run(LivePlant(plant, round(start_s * 1e9), tell_ready).run)


def _print_json(line: Mapping[str, Any]) -> None:
    import msgspec  # noqa: PLC0415

    typer.echo(msgspec.json.encode(line).decode())
    sys.stdout.flush()


def _run(serve: "Callable[[asyncio.Event], Coroutine[Any, Any, None]]") -> None:
    """Run `serve` until it ends, or until Ctrl-C or a request to end sets its event."""
    import asyncio  # noqa: PLC0415
    import signal  # noqa: PLC0415

    from forewarn.logs import set_up_logs  # noqa: PLC0415

    async def main() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await serve(stop)

    set_up_logs()
    asyncio.run(main())
