"""A bearing wears out before an accelerometer: what edge, broker, ingester and store tell of it, and when."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cloud.stores.embedded import EmbeddedStoreSettings
from models.telemetry import MachinePath
from tests.end_to_end.programs_rig import Command, run_command
from tests.servers import Mosquitto, wait_until

ONSET_S, FAILURE_S = 22, 34
"""Late enough that a slow computer has begun to read by then."""
PLANT = f"""
time_scale: 60
opcua: {{port: 0}}
modbus: {{port: 0}}
machines:
  - path: s/a/l/pump-7
    type: pump
    protocol: opcua
    tags: {{speed: {{unit: "1/min"}}}}
    waveform: {{interval_s: 0.5}}
  - path: s/a/l/motor-3
    type: motor
    protocol: modbus
    tags: {{speed: {{unit: "1/min"}}}}
    waveform: {{samples: 4096, interval_s: 1}}
faults:
  - {{machine: s/a/l/pump-7, kind: bearing, onset_s: {ONSET_S}, failure_s: {FAILURE_S}}}
  - {{machine: s/a/l/motor-3, kind: bearing, onset_s: {ONSET_S}, failure_s: {FAILURE_S}}}
"""
PATHS = [MachinePath("s", "a", "l", name) for name in ("pump-7", "motor-3")]


def read_feature(
    folder: Path, machine: MachinePath, feature: str
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return times and values of a feature in the store; nothing while it has none."""
    reader = EmbeddedStoreSettings(kind="embedded", path=folder / "store.sqlite").build_reader()
    try:
        table = reader.read("telemetry", machine, 0, 2**62)
    finally:
        reader.close()
    values = table.values.get(f"vibration.{feature}", np.full(len(table.timestamps), np.nan))
    there = ~np.isnan(values)
    return table.timestamps[there], values[there]


def write_settings(folder: Path, broker: Mosquitto) -> None:
    """Write cloud.yaml and edge.yaml beside what the simulator wrote of its machines."""
    link = f"broker: {{host: 127.0.0.1, port: {broker.port}}}\n"
    (folder / "cloud.yaml").write_text(
        f"{link}roles: [ingest]\nrecords: {{path: records.sqlite}}\n"
        "store: {kind: embedded, path: store.sqlite}\n"
    )
    (folder / "edge.yaml").write_text(
        f"gateway: rig\n{link}outbox: {{path: outbox.sqlite, flush_s: 0.2}}\n"
        "health: {port: null}\n" + (folder / "machines.yaml").read_text()
    )


def test_the_outer_rings_line_is_stored_rising_before_the_bearing_fails(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    """Over OPC UA and Modbus: sound, no line stands out; in the last third of its way BPFO does, alone."""
    (tmp_path / "plant.yaml").write_text(PLANT)
    plant = Command(tmp_path, "plant", "simulate", "--config", "plant.yaml", "--edge-config", "machines.yaml")
    programs = [plant]
    try:
        plant.wait_for_line('"ready":true')
        start_ns = plant.read_json_lines()[0]["start_ns"]
        write_settings(tmp_path, mosquitto)
        checked = run_command(tmp_path, "edge", "check", "edge.yaml")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        programs.append(Command(tmp_path, "cloud", "cloud", "run", "--config", "cloud.yaml"))
        programs.append(Command(tmp_path, "edge", "edge", "run", "--config", "edge.yaml"))
        wait_until((tmp_path / "store.sqlite").exists, "the store", 60.0)
        failure_ns = start_ns + FAILURE_S * 10**9
        for machine in PATHS:
            wait_until(
                lambda machine=machine: np.any(read_feature(tmp_path, machine, "bpfo")[0] > failure_ns),
                f"{machine} after its failure",
                90.0,
            )
    finally:
        for program in reversed(programs):
            program.end()
    for machine in PATHS:
        lines = {name: read_feature(tmp_path, machine, name) for name in ("bpfo", "bpfi", "envelope_floor")}
        times = (lines["bpfo"][0] - start_ns) / 1e9
        sound = times < ONSET_S
        late = (times > FAILURE_S - (FAILURE_S - ONSET_S) / 3) & (times < FAILURE_S)
        assert sound.any()
        assert late.sum() >= 2
        bpfo, bpfi, floor = (values for _, values in lines.values())
        assert np.median(bpfo[sound]) < 3.4 * np.median(floor[sound])
        assert np.median(bpfo[late]) > 5 * np.median(bpfo[sound])
        assert (bpfo[late] > 3 * bpfi[late]).all()
        assert np.median(bpfo[late] / floor[late]) > 5


def test_the_demos_plant_gets_an_accelerometer_when_asked(tmp_path: Path) -> None:
    """`simulate --vibration` serves it, and writes an edge.yaml whose tag `edge read` can read."""
    plant_file = Path(__file__).parent.parent.parent / "configs" / "demo" / "plant.yaml"
    ports = ("--opcua-port", "0", "--modbus-port", "0")
    plant = Command(
        *(tmp_path, "plant", "simulate", "--config", str(plant_file), *ports),
        *("--vibration", "--edge-config", "machines.yaml"),
    )
    try:
        plant.wait_for_line('"ready":true')
        text = "gateway: rig\nbroker: {host: 127.0.0.1}\n" + (tmp_path / "machines.yaml").read_text()
        (tmp_path / "edge.yaml").write_text(text)
        told = run_command(tmp_path, "edge", "read", "edge.yaml")
    finally:
        plant.end()
    assert told.returncode == 0, told.stdout + told.stderr
    for feature in ("vibration.bpfo", "vibration.kurtosis", "vibration.velocity_rms"):
        assert feature in told.stdout
