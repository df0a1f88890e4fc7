"""The simulated accelerometer: what it hears of a sound and of a wearing bearing, by the edge's features."""

from pathlib import Path

import pytest

from edge.simulator.modbus_server import WaveRegisters
from edge.simulator.plant import PlantSettings, listen
from edge.simulator.sections import WAVEFORM_ADDRESS, list_edge_machines
from edge.simulator.simulation import Simulation
from edge.simulator.waveforms import (
    COUNT_MS2,
    SimulatedWaveformSettings,
    describe_waveform,
    make_waveform,
)
from edge.vibration.features import Speed, compute_features
from edge.vibration.settings import WaveformSettings
from edge.vibration.with_python import PythonRecording
from models.settings import SettingsError, load_settings

PLANT_FILE = Path(__file__).parent.parent.parent / "configs" / "demo" / "plant.yaml"
HEARD = SimulatedWaveformSettings(samples=4096)


def hear(severity: float, stream: str = "a") -> dict[str, float]:
    """Return the features of a shaft of 1,470 rpm."""
    samples = make_waveform(HEARD, stream, 24.5, 1.5, severity)
    settings = WaveformSettings.model_validate(describe_waveform(HEARD))
    values = compute_features(samples, settings, Speed(1470.0), PythonRecording).values
    return {name: value for name, value in values.items() if value is not None}


def test_the_outer_rings_line_grows_with_wear() -> None:
    """Sound, no line stands out; worn, the outer ring's does, ever more, and kurtosis tells of strokes."""
    sound, worn, failing = hear(0.0), hear(0.3), hear(1.0)
    assert sound["bpfo"] < 3.4 * sound["envelope_floor"]
    assert 2.7 < sound["kurtosis"] < 3.4
    assert 1.2 < sound["velocity_rms"] < 1.8
    assert sound["bpfo"] < worn["bpfo"] / 3 < failing["bpfo"] / 6
    for features in (worn, failing):
        assert features["bpfo"] > 5 * features["envelope_floor"]
        assert features["bpfo"] > 3 * max(features["bpfi"], features["bsf"])
    assert failing["kurtosis"] > 6


def test_a_simulation_repeats_what_it_hears() -> None:
    """The same step hears the same, another one something else."""
    plant = listen(load_settings(PLANT_FILE, PlantSettings))
    pump = plant.machines[0]
    first, again = (Simulation(plant, pump, 40) for _ in range(2))
    assert first.listen() == again.listen()
    again.advance_to(41)
    assert first.listen() != again.listen()


def test_only_the_machine_of_the_bearing_gets_an_accelerometer() -> None:
    """The demo's plant has none; with one, edge.yaml has its tag, and the others are as they were."""
    plain = load_settings(PLANT_FILE, PlantSettings)
    addresses = ("opc.tcp://127.0.0.1:1/", "127.0.0.1:2")
    before = list_edge_machines(plain, *addresses)
    pump, *others = list_edge_machines(listen(plain), *addresses)
    assert others == before[1:]
    assert pump["tags"][:-1] == before[0]["tags"]
    assert pump["tags"][-1]["node_id"] == "nsu=urn:forewarn:plant;s=pump-7.waveform"
    assert pump["tags"][-1]["waveform"]["speed"] == {"tag": "speed"}


def test_a_modbus_waveform_stands_behind_its_counter() -> None:
    """Values first, then the count of waveforms, then the samples as int16; what is too large is cut."""
    registers = WaveRegisters(["speed"], WAVEFORM_ADDRESS, 64, COUNT_MS2)
    registers.write({"speed": 1.0})
    assert registers.count == WAVEFORM_ADDRESS + 64
    assert len(registers.read(0, 1)) == registers.count
    registers.write_waveform([1.0, -1.0, 1e6, *([0.0] * 61)])
    words = registers.read(0, 2)
    assert words[:2] == (0x3F80, 0)
    assert words[WAVEFORM_ADDRESS - 1 : WAVEFORM_ADDRESS + 3] == (1, 100, 65_436, 32_767)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("waveform: {samples: 4098}", "4098 is no even product of 2, 3 and 5"),
        ("waveform: {samples: 64}", "velocity_rms is from 10 to 1000 Hz"),
        ("waveform: {rate_hz: 0}", "rate_hz"),
    ],
)
def test_a_waveform_that_the_edge_would_refuse_is_refused(tmp_path: Path, line: str, reason: str) -> None:
    """The plant's file is told, before anything is served."""
    text = PLANT_FILE.read_text(encoding="utf-8")
    file = tmp_path / "plant.yaml"
    file.write_text(text.replace("    type: pump\n", f"    type: pump\n    {line}\n"), encoding="utf-8")
    with pytest.raises(SettingsError, match=reason):
        load_settings(file, PlantSettings)
