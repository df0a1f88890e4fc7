"""One waveform as the features see it, and who computes it: numpy where it is installed, else pure Python."""

import os
from array import array
from collections.abc import Callable
from functools import cache
from math import ceil
from typing import Protocol

import msgspec
import structlog

VARIABLE = "FOREWARN_VIBRATION"
"""Set to `python` to leave numpy alone although it is installed: it takes memory."""

HANN_POWER = 3 / 8
"""The mean square of Hann's window, by which windowed powers are too small."""

BIN_SLACK = 1e-9
"""A frequency that is a whole number of steps up to rounding is that step."""

log = structlog.get_logger()


class Shape(msgspec.Struct, frozen=True):
    """A waveform without its mean: root mean square, largest deviation, and mean of the fourth powers."""

    rms: float
    peak: float
    fourth: float


class Recording(Protocol):
    """A waveform of n samples at some rate: bin k of its spectra is at k * rate / n Hz."""

    def measure_shape(self) -> Shape:
        """Return what the samples themselves say."""

    def sum_powers(self, first: int, end: int) -> float:
        """Return the mean square of what lies in the bins from `first` up to and without `end`."""

    def sum_integrated(self, first: int, end: int) -> float:
        """Return the same of the waveform's integral over time: each bin over its (2 pi f)^2; first > 0."""

    def list_envelope(self, first: int, end: int) -> list[float]:
        """Return the amplitudes of the squared envelope's spectrum, the mean left out, from 0 Hz on.

        The envelope is the magnitude of the analytic signal of the bins from `first` up to and without `end`;
        as many bins come back, as its square has no higher frequencies. Values are in the square of the unit.
        """


OpenRecording = Callable[["array[float]", float], Recording]
"""Makes a recording of samples (array "d", finite, as many as `fourier` takes) and their rate in Hz."""


@cache
def choose_opener() -> OpenRecording:
    """Return numpy's way where numpy is, else pure Python's; say which. Loads numpy: not on an event loop."""
    if os.environ.get(VARIABLE) == "python":
        reason = f"{VARIABLE} asks for it"
    else:
        try:
            from edge.vibration.with_numpy import NumpyRecording
        except ImportError:
            reason = "numpy is not installed, nor needed"
        else:
            log.info("vibration_computed_by", what="numpy")
            return NumpyRecording
    from edge.vibration.with_python import PythonRecording

    log.info("vibration_computed_by", what="pure Python", reason=reason)
    return PythonRecording


def find_bins(low_hz: float, high_hz: float, samples: int, rate_hz: float) -> tuple[int, int]:
    """Return the bins in [low, high), without the mean's: the first, and the one behind the last."""
    first = ceil(low_hz * samples / rate_hz - BIN_SLACK)
    end = ceil(high_hz * samples / rate_hz - BIN_SLACK)
    return max(1, first), min(end, samples // 2)


def choose_envelope_length(bins: int) -> int:
    """Return at how many points the envelope of so many bins is computed: twice the bins, so that its square
    does not fold back on itself, up to a power of 2."""
    return 1 << (2 * bins - 1).bit_length()
