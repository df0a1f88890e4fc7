"""What an accelerometer on a bearing hears: unbalance, noise, and the strokes of an outer ring that wears."""

import math
from array import array
from random import Random
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from edge.vibration.bearings import count_per_turn
from edge.vibration.settings import SAMPLES_MAX, SAMPLES_MIN, BearingSettings, WaveformSettings
from models.settings import Settings

TAG = "vibration"
"""What the waveform is called in edge.yaml; its features are named after it."""
NODE = "waveform"
RING_SHARE = 0.18
"""Of the rate: the resonance that a stroke makes the housing ring with, within the edge's envelope band."""
RING_DECAY_S = 0.0011
SLIP = 0.01
"""Balls slip: strokes come late or early by this share of their distance (Randall and Antoni 2011)."""
NOISE_MS2 = 0.3
STROKE_MS2 = 12.0
"""Of a bearing that fails; severity says how much of it."""
COUNT_MS2 = 0.01
"""What one count of an int16 register is worth."""


class SimulatedWaveformSettings(Settings):
    """An accelerometer beside a machine's other tags: `samples` at `rate_hz`, anew every `interval_s`."""

    samples: int = Field(default=8192, ge=SAMPLES_MIN, le=SAMPLES_MAX)
    rate_hz: float = Field(default=25_600.0, gt=0, le=1_000_000)
    interval_s: float = Field(default=5.0, ge=0.1, le=3600)
    bearing: BearingSettings = BearingSettings(balls=9, ball_diameter_mm=7.94, pitch_diameter_mm=39.04)

    @model_validator(mode="after")
    def _is_what_the_edge_takes(self) -> Self:
        try:
            WaveformSettings.model_validate(describe_waveform(self))
        except ValidationError as error:
            raise ValueError("; ".join(one["msg"] for one in error.errors())) from error
        return self


def make_waveform(
    settings: SimulatedWaveformSettings, stream: str, shaft_hz: float, velocity_mm_s: float, severity: float
) -> "array[float]":
    """Return acceleration in m/s2; the same `stream` always hears the same.

    `velocity_mm_s` is the RMS velocity of the unbalance, `severity` (0..1) how far the outer ring is worn:
    its strokes repeat with BPFO.
    """
    draw = Random(stream)  # noqa: S311  # a simulation must repeat itself
    turn = 2 * math.pi * shaft_hz / settings.rate_hz
    # The amplitude of a sine whose velocity has this RMS: v sqrt(2) times 2 pi f, in metres.
    swing = velocity_mm_s / 1000.0 * math.sqrt(2.0) * 2 * math.pi * shaft_hz
    start = draw.uniform(0.0, 2 * math.pi)
    gauss, sine = draw.gauss, math.sin
    heard = array(
        "d", [gauss(0.0, NOISE_MS2) + swing * sine(turn * at + start) for at in range(settings.samples)]
    )
    strokes_hz = count_per_turn(settings.bearing.geometry)["bpfo"] * shaft_hz
    if severity > 0.0 and strokes_hz > 0.0:
        _add_strokes(heard, settings.rate_hz, strokes_hz, STROKE_MS2 * severity, draw)
    return heard


def _add_strokes(
    heard: "array[float]", rate_hz: float, strokes_hz: float, height: float, draw: Random
) -> None:
    """Add a decaying oscillation for each passing of a ball, slipping a little."""
    ring = 2 * math.pi * RING_SHARE * rate_hz
    lasts = math.ceil(5 * RING_DECAY_S * rate_hz)
    stroke_s = draw.uniform(0.0, 1.0 / strokes_hz)
    while stroke_s < len(heard) / rate_hz:
        first = math.ceil(stroke_s * rate_hz)
        for at in range(first, min(len(heard), first + lasts)):
            since_s = at / rate_hz - stroke_s
            heard[at] += height * math.exp(-since_s / RING_DECAY_S) * math.sin(ring * since_s)
        stroke_s += max(1.0 + draw.gauss(0.0, SLIP), 0.5) / strokes_hz


def describe_waveform(settings: SimulatedWaveformSettings) -> dict[str, Any]:
    """Return what edge.yaml says of the waveform; the machine's own `speed` tells where the lines are."""
    return {
        "samples": settings.samples,
        "rate_hz": settings.rate_hz,
        "unit": "m/s2",
        "bearing": settings.bearing.model_dump(),
        "speed": {"tag": "speed"},
    }
