"""Features of waveforms: known signals, both ways of computing, bearing faults, nothing invented."""

from array import array
from math import pi, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.vibration.bearings import Geometry, count_per_turn
from edge.vibration.features import Features, Speed, compute_features, refuse_all
from edge.vibration.recording import OpenRecording
from edge.vibration.with_numpy import NumpyRecording
from edge.vibration.with_python import PythonRecording
from models.telemetry import quality
from tests.unit.vibration_rig import RATE_HZ, SKF_6205, make_fault, make_noise, make_settings, make_sine

WAYS: list[OpenRecording] = [PythonRecording, NumpyRecording]
NO_SPEED = Speed(None)
BEARING = {"bearing": SKF_6205, "speed": {"rpm": 1_500}}
LINES = ("bpfo", "bpfi", "bsf", "ftf")


def compute(
    samples: "array[float]", way: OpenRecording, turning: Speed = NO_SPEED, **more: object
) -> Features:
    return compute_features(samples, make_settings(samples=len(samples), **more), turning, way)


@pytest.mark.parametrize("way", WAYS)
def test_a_sine_is_measured_as_the_textbook_says(way: OpenRecording) -> None:
    """A sine A: rms A/sqrt(2), peak A, crest sqrt(2), kurtosis 1.5, velocity A/(2 pi f sqrt(2)); no mean."""
    found = compute(make_sine(162.5, 9.0), way, bands_hz=[[10, 1000], [1000, 10000]]).values
    assert found["rms"] == pytest.approx(9 / sqrt(2), rel=1e-3)
    assert found["peak"] == pytest.approx(9, rel=1e-3)
    assert found["crest_factor"] == pytest.approx(sqrt(2), rel=1e-3)
    assert found["kurtosis"] == pytest.approx(1.5, rel=1e-3)
    assert found["velocity_rms"] == pytest.approx(1_000 * 9 / (2 * pi * 162.5 * sqrt(2)), rel=2e-3)
    assert found["band_10_1000"] == pytest.approx(9 / sqrt(2), rel=1e-3)
    assert found["band_1000_10000"] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("steps", "tolerance"), [(4.0, 0.04), (4.5, 0.04), (20.0, 0.002), (20.5, 0.002)])
def test_velocity_of_slow_sines_is_as_exact_as_the_page_says(
    way: OpenRecording, steps: float, tolerance: float
) -> None:
    """Within 4 % at four steps of the spectrum, 0.2 % at twenty, on a step or between two."""
    hertz = steps * RATE_HZ / 4_096
    found = compute(make_sine(hertz, 1.0, 4_096), way).values
    assert found["velocity_rms"] == pytest.approx(1_000 / (2 * pi * hertz * sqrt(2)), rel=tolerance)


@pytest.mark.parametrize("way", WAYS)
def test_velocity_knows_its_unit_and_its_band(way: OpenRecording) -> None:
    """g is 9.80665 m/s2; mm/s is velocity already; 2 kHz is outside of 10 to 1,000 Hz."""
    sine = make_sine(160.0, 1.0)
    metres = compute(sine, way).values["velocity_rms"]
    assert metres is not None
    assert compute(sine, way, unit="g").values["velocity_rms"] == pytest.approx(9.80665 * metres)
    assert compute(sine, way, unit="mm/s").values["velocity_rms"] == pytest.approx(1 / sqrt(2), rel=1e-3)
    assert compute(make_sine(2_000.0, 1.0), way, unit="mm/s").values["velocity_rms"] == pytest.approx(
        0, abs=1e-6
    )


@pytest.mark.parametrize("way", WAYS)
def test_noise_has_kurtosis_three_and_bands_that_add_up(way: OpenRecording) -> None:
    """Gaussian: kurtosis 3 within four of its standard errors; bands from end to end have all the power."""
    bands = [[0, 3_000], [3_000, 7_000], [7_000, 12_800]]
    found = compute(make_noise(7), way, bands_hz=bands).values
    assert found["kurtosis"] == pytest.approx(3, abs=4 * sqrt(24 / 16_384))
    parts = [value for name, value in found.items() if name.startswith("band") and value is not None]
    assert len(parts) == 3
    # Hann's window weighs the middle of the waveform more: of 16,384 samples of noise that is some 1 %.
    assert sqrt(sum(part * part for part in parts)) == pytest.approx(found["rms"], rel=0.02)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([64, 96, 120, 250, 1_000, 4_096, 6_000]), st.integers(0, 2**32), st.floats(-6, 6))
def test_both_ways_of_computing_agree(samples: int, seed: int, magnitude: float) -> None:
    """Pure Python and numpy: to 1e-9 of the largest, every measure, any length, any magnitude."""
    signal = array("d", [10**magnitude * (number + 3) for number in make_noise(seed, samples)])
    ours, theirs = (way(signal, RATE_HZ) for way in WAYS)
    shape, other = ours.measure_shape(), theirs.measure_shape()
    assert shape.rms == pytest.approx(other.rms, rel=1e-9)
    assert shape.peak == pytest.approx(other.peak, rel=1e-9)
    assert shape.fourth == pytest.approx(other.fourth, rel=1e-9)
    first, end = samples // 16, samples // 2 - 3
    assert ours.sum_powers(first, end) == pytest.approx(theirs.sum_powers(first, end), rel=1e-9)
    assert ours.sum_powers(0, samples) == pytest.approx(theirs.sum_powers(0, samples), rel=1e-9)
    assert ours.sum_integrated(first, end) == pytest.approx(theirs.sum_integrated(first, end), rel=1e-9)
    mine, envelope = ours.list_envelope(first, end), theirs.list_envelope(first, end)
    assert mine == pytest.approx(envelope, abs=1e-9 * max(envelope))
    assert len(mine) == end - first


def test_bearing_frequencies_are_those_of_the_table() -> None:
    """SKF 6205 and 6203 as the Case Western Reserve University's bearing data center lists them, per turn."""
    big = count_per_turn(Geometry(9, 7.94, 39.04))
    assert big == pytest.approx({"bpfo": 3.5848, "bpfi": 5.4152, "bsf": 4.7135 / 2, "ftf": 0.39828}, rel=2e-4)
    small = count_per_turn(Geometry(8, 6.75, 28.5))
    assert small == pytest.approx(
        {"bpfo": 3.0530, "bpfi": 4.9469, "bsf": 3.9874 / 2, "ftf": 0.3817}, rel=2e-3
    )
    tilted = count_per_turn(Geometry(9, 7.94, 39.04, 90.0))
    assert tilted["bpfo"] == tilted["bpfi"] == pytest.approx(4.5)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", ["bpfo", "bpfi"])
@pytest.mark.parametrize("rpm", [1_500.0, 1_470.0])
def test_the_envelope_finds_the_fault_of_a_bearing(way: OpenRecording, fault: str, rpm: float) -> None:
    """A struck ring's line stands far above the other's, the floor, and the same line of a sound bearing."""
    hertz = count_per_turn(Geometry(9, 7.94, 39.04))[fault] * rpm / 60  # type: ignore[index]  # one of its names
    more = {"bearing": SKF_6205, "speed": {"rpm": rpm}}
    ill = compute(make_fault(hertz, rpm / 60, 3), way, Speed(rpm), **more).values
    sound = compute(make_noise(5), way, Speed(rpm), **more).values
    other = "bpfi" if fault == "bpfo" else "bpfo"
    line, beside, floor, before = ill[fault], ill[other], ill["envelope_floor"], sound[fault]
    assert line is not None
    assert beside is not None
    assert floor is not None
    assert before is not None
    assert line > 4 * beside
    assert line > 10 * floor
    assert line > 2 * before


@pytest.mark.parametrize("way", WAYS)
def test_an_envelope_line_is_as_large_as_its_modulation(way: OpenRecording) -> None:
    """A carrier times A (1 + m sin) has a squared envelope with the line 2 m A^2, of which it is the root."""
    step_hz, depth = RATE_HZ / 16_384, 0.5
    per_turn = count_per_turn(Geometry(9, 7.94, 39.04))["bpfo"]
    # On steps of the spectrum, so that the window takes nothing.
    line_hz, carrier_hz = (round(hertz / step_hz) * step_hz for hertz in (25 * per_turn, 5_000))
    line, carrier = make_sine(line_hz, 1.0), make_sine(carrier_hz, 1.0)
    wave = array("d", [3 * (1 + depth * (a - 2.5)) * (b - 2.5) for a, b in zip(line, carrier, strict=True)])
    found = compute(wave, way, Speed(1_500.0), bearing=SKF_6205, speed={"rpm": 1_500}).values
    assert found["bpfo"] == pytest.approx(3 * sqrt(2 * depth), rel=1e-3)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("turning", "code"),
    [
        (Speed(None, quality.BAD_WAITING_FOR_INITIAL_DATA), quality.BAD_WAITING_FOR_INITIAL_DATA),
        (Speed(None, quality.BAD_SENSOR_FAILURE), quality.BAD_SENSOR_FAILURE),
        (Speed(0.0), quality.BAD_OUT_OF_RANGE),
        (Speed(12.0), quality.BAD_OUT_OF_RANGE),
    ],
)
def test_without_a_speed_there_are_no_lines(way: OpenRecording, turning: Speed, code: int) -> None:
    """Unknown, bad, standing: each line is bad with its reason, the other features are as ever."""
    found = compute(make_noise(1), way, turning, bearing=SKF_6205, speed={"tag": "speed"})
    assert {name: found.values[name] for name in LINES} == dict.fromkeys(LINES)
    assert found.codes == dict.fromkeys(LINES, code)
    assert found.values["rms"] == pytest.approx(1, rel=0.05)
    assert found.values["envelope_floor"] is not None


@pytest.mark.parametrize("way", WAYS)
def test_a_line_that_cannot_be_seen_says_what_would_do(way: OpenRecording) -> None:
    """The cage's 10 Hz take 0.2 s; of 0.16 s the line is bad, and 5,142 samples are asked for, which do."""
    more = {"bearing": SKF_6205, "speed": {"rpm": 1_500}, "features": ["envelope"]}
    found = compute(make_noise(1, 4_096), way, Speed(1_500.0), **more)
    assert found.codes == {"ftf": quality.BAD_CONFIGURATION_ERROR}
    assert "5142 samples" in found.reasons["ftf"]
    assert compute(make_noise(1, 5_184), way, Speed(1_500.0), **more).codes == {}
    narrow = compute(make_noise(1), way, Speed(1_500.0), envelope_band_hz=[4_000, 4_100], **more)
    assert narrow.codes == dict.fromkeys(("bpfi",), quality.BAD_CONFIGURATION_ERROR)
    assert "widen envelope_band_hz" in narrow.reasons["bpfi"]


@pytest.mark.parametrize("way", WAYS)
def test_an_uncertain_speed_makes_uncertain_lines(way: OpenRecording) -> None:
    """They are computed, and marked as the speed was."""
    turning = Speed(1_500.0, quality.UNCERTAIN)
    found = compute(make_noise(1), way, turning, bearing=SKF_6205, speed={"tag": "speed"})
    assert found.codes == dict.fromkeys(LINES, quality.UNCERTAIN)
    assert all(found.values[name] is not None for name in LINES)


@pytest.mark.parametrize("way", WAYS)
def test_a_flat_waveform_has_no_crest_factor(way: OpenRecording) -> None:
    """All samples equal: rms is 0, and what would be divided by it is bad."""
    for level in (0.1, 4.0):  # the mean of many 0.1 is not quite 0.1
        flat = compute(array("d", [level] * 6_000), way, features=["rms", "crest_factor", "kurtosis"])
        assert flat.values == {"rms": 0.0, "crest_factor": None, "kurtosis": None}
    assert flat.codes == dict.fromkeys(("crest_factor", "kurtosis"), quality.BAD_OUT_OF_RANGE)


def test_a_waveform_that_did_not_come_has_no_features() -> None:
    """Every one is there, without a value, with the waveform's quality."""
    wanted = make_settings(bands_hz=[[10, 1_000]], bearing=SKF_6205, speed={"rpm": 1_500})
    found = refuse_all(wanted, quality.BAD_TIMEOUT)
    assert found.values == dict.fromkeys(wanted.units)
    assert found.codes == dict.fromkeys(wanted.units, quality.BAD_TIMEOUT)
    whole = compute(make_noise(1), PythonRecording, Speed(1_500.0), bands_hz=[[10, 1_000]], **BEARING)
    assert whole.values.keys() == wanted.units.keys()
