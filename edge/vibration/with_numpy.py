"""Computes a waveform's spectra with numpy; the only file of the edge that knows it, loaded where it is."""

from array import array
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from edge.vibration.fourier import PLANS_MAX
from edge.vibration.recording import HANN_POWER, Shape, choose_envelope_length


class NumpyRecording:
    """A `Recording` in arrays."""

    def __init__(self, samples: "array[float]", rate_hz: float) -> None:
        self._count = len(samples)
        self._rate_hz = rate_hz
        signal = np.frombuffer(samples)
        self._signal = signal - signal.mean()

    def measure_shape(self) -> Shape:
        """Return what the samples themselves say."""
        squares = self._signal * self._signal
        return Shape(
            rms=float(np.sqrt(squares.mean())),
            peak=float(np.abs(self._signal).max()),
            fourth=float((squares * squares).mean()),
        )

    def sum_powers(self, first: int, end: int) -> float:
        """Return the mean square of some bins."""
        return float(self._powers[first:end].sum())

    def sum_integrated(self, first: int, end: int) -> float:
        """Return the mean square of the integral of some bins."""
        turns = 2 * np.pi * self._rate_hz / self._count * np.arange(first, end)
        return float((self._powers[first:end] / turns**2).sum())

    def list_envelope(self, first: int, end: int) -> list[float]:
        """Return the amplitudes of the squared envelope's spectrum."""
        length = choose_envelope_length(end - first)
        analytic = np.fft.ifft(self._spectrum[first:end], length) * (2 * length / self._count)
        squared = analytic.real**2 + analytic.imag**2
        spectrum = np.fft.rfft((squared - squared.mean()) * _make_window(length))[: end - first]
        amplitudes: list[float] = (np.abs(spectrum) * (4 / length)).tolist()
        return amplitudes

    @cached_property
    def _spectrum(self) -> NDArray[np.complex128]:
        return np.fft.rfft(self._signal)

    @cached_property
    def _powers(self) -> NDArray[np.float64]:
        """The one-sided power of each bin under Hann's window."""
        spectrum = self._spectrum
        around = np.concatenate(([spectrum[1].conj()], spectrum, [spectrum[-2].conj()]))
        windowed = 0.5 * spectrum - 0.25 * (around[:-2] + around[2:])
        powers = (windowed.real**2 + windowed.imag**2) * (2 / (self._count**2 * HANN_POWER))
        powers[[0, -1]] /= 2
        return powers


@lru_cache(PLANS_MAX)
def _make_window(length: int) -> NDArray[np.float64]:
    """Return Hann's window, periodic."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
