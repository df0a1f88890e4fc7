"""Waveforms for the tests: sines, noise, and the strokes of a damaged bearing."""

import math
import random
from array import array
from typing import Any

from edge.vibration.settings import WaveformSettings

SKF_6205 = {"balls": 9, "ball_diameter_mm": 7.94, "pitch_diameter_mm": 39.04}
SAMPLES, RATE_HZ = 16_384, 25_600.0


def make_settings(**more: Any) -> WaveformSettings:
    """Return a waveform's settings, of 0.64 s unless said otherwise."""
    return WaveformSettings.model_validate({"samples": SAMPLES, "rate_hz": RATE_HZ} | more)


def make_sine(hertz: float, amplitude: float, samples: int = SAMPLES, phase: float = 0.3) -> "array[float]":
    """Return a sine at `RATE_HZ`, on top of a bias."""
    turn = 2 * math.pi * hertz / RATE_HZ
    return array("d", [2.5 + amplitude * math.sin(turn * at + phase) for at in range(samples)])


def make_noise(seed: int, samples: int = SAMPLES) -> "array[float]":
    """Return Gaussian noise of sigma 1."""
    source = random.Random(seed)
    return array("d", [source.gauss(0, 1) for _ in range(samples)])


def make_fault(hertz: float, shaft_hertz: float, seed: int, samples: int = SAMPLES) -> "array[float]":
    """Return what a sensor hears of a spot that is struck `hertz` times a second.

    Strokes ring at 4.5 kHz and come late or early by 1 % of their distance (Randall and Antoni 2011), under
    the shaft's own unbalance and noise.
    """
    source = random.Random(seed)
    heard = [
        source.gauss(0, 0.3) + math.sin(2 * math.pi * shaft_hertz * at / RATE_HZ) for at in range(samples)
    ]
    stroke_s = 0.001
    while stroke_s < samples / RATE_HZ:
        first = math.ceil(stroke_s * RATE_HZ)
        for at in range(first, min(samples, first + 200)):
            since_s = at / RATE_HZ - stroke_s
            heard[at] += 4 * math.exp(-900 * since_s) * math.sin(2 * math.pi * 4_500 * since_s)
        stroke_s += (1 + source.gauss(0, 0.01)) / hertz
    return array("d", heard)
