"""The features of one waveform: values, or for each that cannot be told the quality and the reason. Pure.

Sources: broad-band velocity ISO 20816-1:2016 (before it ISO 10816-1:1995); kurtosis and crest factor as signs
of damage Dyer and Stewart, Journal of Mechanical Design 100 (1978); squared envelope spectrum Randall and
Antoni, Mechanical Systems and Signal Processing 25 (2011).
"""

from array import array
from collections.abc import Iterable
from math import ceil, floor, sqrt

import msgspec

from edge.vibration.bearings import LineName, count_per_turn
from edge.vibration.recording import OpenRecording, Recording, Shape, find_bins
from edge.vibration.settings import VELOCITY_HZ, WaveformSettings, name_band
from models.telemetry import Value, quality

MULTIPLES: dict[LineName, tuple[int, ...]] = {"bpfo": (1,), "bpfi": (1,), "bsf": (1, 2), "ftf": (1,)}
"""Where a line is looked for: a damaged spot of a ball strikes both rings, twice a turn. Not at harmonics,
where lines meet: of an SKF 6205 three times BPFO is twice BPFI, but for 0.7 %."""

SLIP = 0.02
"""A bearing's real frequencies are off by 1 to 2 % because its balls slip (Randall and Antoni 2011)."""

RESOLVED_BINS = 2
"""A frequency of fewer steps of the spectrum cannot be told from what rests."""

_TO_MM_PER_S = {"m/s2": 1_000.0, "g": 9_806.65}
"""Millimetres per second for each second of one unit of acceleration; g by definition (ISO 80000-3)."""


class Speed(msgspec.Struct, frozen=True):
    """How fast the shaft turns; None where that is not known, and the code says why."""

    rpm: float | None
    code: int = quality.GOOD


class Features(msgspec.Struct):
    """By the features' names: values, qualities that are not good, and what to say of those."""

    values: dict[str, Value] = {}
    codes: dict[str, int] = {}
    reasons: dict[str, str] = {}

    def refuse(self, name: str, code: int, reason: str = "") -> None:
        """There is no such value."""
        self.values[name] = None
        self.codes[name] = code
        if reason:
            self.reasons[name] = reason


def compute_features(
    samples: "array[float]", settings: WaveformSettings, speed: Speed, open_recording: OpenRecording
) -> Features:
    """Return all that the settings ask for of `settings.samples` samples in their unit.

    The samples are finite, and so are their fourth powers.
    """
    found = Features()
    recording = open_recording(samples, settings.rate_hz)
    wanted = settings.features or ()
    # Of equal samples rounding leaves something to divide by, which says nothing.
    is_flat = min(samples) == max(samples)
    _add_shape(found, Shape(0.0, 0.0, 0.0) if is_flat else recording.measure_shape(), wanted)
    if "velocity_rms" in wanted:
        found.values["velocity_rms"] = _measure_velocity(recording, settings)
    for band in settings.bands_hz if "bands" in wanted else ():
        first, end = find_bins(*band, settings.samples, settings.rate_hz)
        found.values[name_band(band)] = sqrt(recording.sum_powers(first, end))
    if "envelope" in wanted:
        _add_lines(found, recording, settings, speed)
    return found


def refuse_all(settings: WaveformSettings, code: int) -> Features:
    """Return the features of a waveform that did not come: none, for that reason."""
    found = Features()
    for name in settings.units:
        found.refuse(name, code)
    return found


def _add_shape(found: Features, shape: Shape, wanted: tuple[str, ...]) -> None:
    told: dict[str, Value] = {"rms": shape.rms, "peak": shape.peak}
    square = shape.rms * shape.rms
    if square * square > 0:
        told |= {"crest_factor": shape.peak / shape.rms, "kurtosis": shape.fourth / (square * square)}
    for name in ("rms", "peak", "crest_factor", "kurtosis"):
        if name not in wanted:
            continue
        if name in told:
            found.values[name] = told[name]
        else:
            reason = "every sample is the same: does the sensor still measure?"
            found.refuse(name, quality.BAD_OUT_OF_RANGE, reason)


def _measure_velocity(recording: Recording, settings: WaveformSettings) -> float:
    """Return the RMS velocity in mm/s between 10 and 1,000 Hz; acceleration is integrated bin by bin."""
    first, end = find_bins(*VELOCITY_HZ, settings.samples, settings.rate_hz)
    if settings.unit == "mm/s":
        return sqrt(recording.sum_powers(first, end))
    return sqrt(recording.sum_integrated(first, end)) * _TO_MM_PER_S[settings.unit]


def _add_lines(found: Features, recording: Recording, settings: WaveformSettings, speed: Speed) -> None:
    assert settings.bearing is not None
    assert settings.speed is not None
    first, end = find_bins(*settings.envelope_band, settings.samples, settings.rate_hz)
    envelope = recording.list_envelope(first, end)
    found.values["envelope_floor"] = sqrt(sorted(envelope)[len(envelope) // 2])
    bin_hz = settings.rate_hz / settings.samples
    for name, per_turn in count_per_turn(settings.bearing.geometry).items():
        if speed.rpm is None:
            found.refuse(name, speed.code)
        elif speed.rpm < settings.speed.rpm_min:
            found.refuse(name, quality.BAD_OUT_OF_RANGE)
        else:
            hertz = per_turn * speed.rpm / 60
            value = find_line(envelope, (hertz * multiple / bin_hz for multiple in MULTIPLES[name]))
            if value is None:
                reason = _explain_unresolved(name, hertz, settings)
                found.refuse(name, quality.BAD_CONFIGURATION_ERROR, reason)
            else:
                found.values[name] = value
                if speed.code:
                    found.codes[name] = speed.code


def find_line(envelope: list[float], places: Iterable[float]) -> float | None:
    """Return the root of the largest amplitude within the slip of any of the places, in bins.

    `envelope` is the squared envelope's spectrum, so the root is in the waveform's unit. None where the first
    place is not told apart from 0 Hz or lies beyond the spectrum.
    """
    seen: list[float] = []
    for place in places:
        low, high = floor(place * (1 - SLIP)), ceil(place * (1 + SLIP))
        if place < RESOLVED_BINS or high >= len(envelope):
            break
        seen += envelope[low : high + 1]
    return sqrt(max(seen)) if seen else None


def _explain_unresolved(name: str, hertz: float, settings: WaveformSettings) -> str:
    bin_hz = settings.rate_hz / settings.samples
    if hertz < RESOLVED_BINS * bin_hz:
        seconds = RESOLVED_BINS / hertz
        return (
            f"{name} is at {hertz:.1f} Hz, which takes {seconds:.2g} s to be seen; the waveform lasts "
            f"{settings.duration_s:.2g} s: {ceil(seconds * settings.rate_hz)} samples at this rate would do"
        )
    low, high = settings.envelope_band
    return f"{name} is at {hertz:.1f} Hz: widen envelope_band_hz, which spans only {high - low:g} Hz"
