"""`forewarn simulate`: a plant that wears out, its simulated past, or the replay of a recording."""

import sys
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

if TYPE_CHECKING:
    import asyncio

    from edge.simulator.modbus_replay import ModbusReplay
    from edge.simulator.opcua_replay import OpcuaReplay
    from edge.simulator.plant import PlantSettings
    from edge.simulator.recording import Recording
    from models.telemetry import MachinePath

Option = typer.Option
Port = partial(typer.Option, min=0, max=65535)
HISTORY_S = 1800.0


class Replayed(NamedTuple):
    """What the options say about a replay."""

    file: Path
    machine: str | None
    protocol: str
    port: int
    speed: float
    columns: tuple[str, ...]
    waits_for_client: bool


def simulate(
    *,
    config: Annotated[Path, Option(help="The plant.")] = Path("configs/demo/plant.yaml"),
    opcua_port: Annotated[int | None, Port(help="Instead of the plant's; 0: a free one.")] = None,
    modbus_port: Annotated[int | None, Port(help="Instead of the plant's; 0: a free one.")] = None,
    seed: Annotated[int | None, Option(help="Instead of the plant's.")] = None,
    start_at: Annotated[float | None, Option(help="The start, in seconds since 1970 (now).")] = None,
    fault: Annotated[str | None, Option(help="bearing, cavitation, misalignment or stuck-tag.")] = None,
    machine: Annotated[str | None, Option(help="The machine of the fault, or of the replay.")] = None,
    onset: Annotated[float, Option(help="The fault begins: seconds after the start.")] = 30.0,
    failure: Annotated[float | None, Option(help="The machine fails: seconds after the start (100).")] = None,
    tag: Annotated[str | None, Option(help="The tag that --fault stuck-tag freezes.")] = None,
    vibration: Annotated[
        bool, Option(help="Add an accelerometer to the machine of --fault bearing.")
    ] = False,
    edge_config: Annotated[Path | None, Option(help="Write the machines of edge.yaml here.")] = None,
    cloud_config: Annotated[Path | None, Option(help="Write the machines of cloud.yaml here.")] = None,
    csv_dir: Annotated[Path | None, Option(help="Write the healthy past here and end.")] = None,
    history: Annotated[float, Option(min=1, help="Seconds of past for --csv-dir.")] = HISTORY_S,
    until: Annotated[float | None, Option(help="End of the past, in seconds since 1970 (now).")] = None,
    interval: Annotated[float, Option(min=0.01, help="Seconds between the rows of --csv-dir.")] = 0.5,
    replay: Annotated[Path | None, Option(help="Serve this recording (CSV) in place of a plant.")] = None,
    protocol: Annotated[str, Option(help="How to serve the recording: opcua or modbus.")] = "opcua",
    port: Annotated[int, Port(help="Where to serve the recording; 0: a free port.")] = 0,
    speed: Annotated[float, Option(min=0.001, help="Times as fast as recorded.")] = 1.0,
    columns: Annotated[str | None, Option(help="The columns to replay, parted by commas (all).")] = None,
    wait_for_client: Annotated[bool, Option(help="OPC UA: begin once all tags are subscribed to.")] = True,
    linger_s: Annotated[float, Option(min=0, help="Stay this long after the last row.")] = 5.0,
) -> None:
    """Serve a simulated plant, or a recording, over OPC UA and Modbus, on this computer only."""
    import time  # `forewarn --help` loads no more than it shows

    from edge.simulator.plant import PlantSettings
    from models.settings import load_settings

    if replay is not None:
        served = Replayed(replay, machine, protocol, port, speed, _split(columns), wait_for_client)
        _replay(served, linger_s, edge_config)
        return
    plant = _change(load_settings(config, PlantSettings), seed, opcua_port, modbus_port, hears=vibration)
    if csv_dir is not None:
        _write_past(plant, history, interval, time.time() if until is None else until, csv_dir)
        return
    if fault is not None:
        plant = _add_fault(plant, kind=fault, machine=machine, onset_s=onset, failure_s=failure, tag=tag)
    _serve(plant, time.time() if start_at is None else start_at, edge_config, cloud_config)


def _write_past(
    plant: "PlantSettings", history_s: float, interval_s: float, until_s: float, folder: Path
) -> None:
    from edge.simulator.simulation import write_past

    for file in write_past(plant, history_s, interval_s, round(until_s * 1e9), folder):
        typer.echo(file)


def _change(
    plant: "PlantSettings", seed: int | None, opcua_port: int | None, modbus_port: int | None, *, hears: bool
) -> "PlantSettings":
    """Return the plant as the options have it; one that `hears` has an accelerometer."""
    from edge.simulator.plant import PortSettings, listen

    if seed is not None:
        plant = plant.changed(seed=seed)
    if opcua_port is not None:
        plant = plant.changed(opcua=PortSettings(port=opcua_port))
    if modbus_port is not None:
        plant = plant.changed(modbus=PortSettings(port=modbus_port))
    return listen(plant) if hears else plant


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
    from pydantic import ValidationError

    from edge.simulator.plant import choose_machine
    from models.settings import SettingsError

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
    from edge.simulator.live import LivePlant
    from edge.simulator.sections import Section, list_cloud_machines, write_section

    def tell_ready(ready: Mapping[str, Any], machines: Section) -> None:
        if edge_config is not None:
            edge_config.write_text(write_section(machines), encoding="utf-8")
        if cloud_config is not None:
            cloud_config.write_text(write_section(list_cloud_machines(plant)), encoding="utf-8")
        _print_json(ready)

    _run(LivePlant(plant, round(start_s * 1e9), tell_ready).run)


def _split(columns: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in columns.split(",")) if columns else ()


def _replay(served: Replayed, linger_s: float, edge_config: Path | None) -> None:
    from edge.simulator.recording import read_recording
    from edge.simulator.sections import Section, write_section
    from models.settings import SettingsError
    from models.telemetry import MachinePath

    if served.machine is None:
        raise SettingsError("--replay needs --machine: the path of the machine that the file records")
    if served.protocol not in ("opcua", "modbus"):
        raise SettingsError(f"--protocol {served.protocol!r} is not one of opcua, modbus")
    path = MachinePath.parse(served.machine)
    server = _make_replay(served, read_recording(served.file, served.columns), path)

    def tell(line: Mapping[str, Any], machines: Section) -> None:
        if edge_config is not None and machines:
            edge_config.write_text(write_section(machines), encoding="utf-8")
        _print_json(line)

    _run(lambda stop: server.run(stop, tell, linger_s))


def _make_replay(
    served: Replayed, recording: "Recording", path: "MachinePath"
) -> "OpcuaReplay | ModbusReplay":
    # Each server loads its own library only: this is one process of several on a small computer.
    if served.protocol == "modbus":
        from edge.simulator.modbus_replay import ModbusReplay

        return ModbusReplay(recording, path, port=served.port, speed=served.speed)
    from edge.simulator.opcua_replay import OpcuaReplay

    return OpcuaReplay(
        recording, path, port=served.port, speed=served.speed, waits_for_client=served.waits_for_client
    )


def _print_json(line: Mapping[str, Any]) -> None:
    import msgspec

    typer.echo(msgspec.json.encode(line).decode())
    sys.stdout.flush()


def _run(serve: "Callable[[asyncio.Event], Coroutine[Any, Any, None]]") -> None:
    """Run `serve` until it ends, or until Ctrl-C or a request to end sets its event."""
    import asyncio
    import signal

    from forewarn.logs import set_up_logs

    async def main() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await serve(stop)

    set_up_logs()
    asyncio.run(main())
