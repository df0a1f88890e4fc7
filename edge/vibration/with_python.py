"""Computes a waveform's spectra in pure Python."""

from array import array
from functools import cached_property, lru_cache
from itertools import repeat
from math import cos, pi, sqrt
from operator import add, mul, sub

from edge.vibration.fourier import PLANS_MAX, transform, transform_real
from edge.vibration.recording import HANN_POWER, Shape, choose_envelope_length


class PythonRecording:
    """A `Recording` in lists."""

    def __init__(self, samples: "array[float]", rate_hz: float) -> None:
        self._count = len(samples)
        self._rate_hz = rate_hz
        mean = sum(samples) / self._count
        self._signal = list(map(sub, samples, repeat(mean)))

    def measure_shape(self) -> Shape:
        """Return what the samples themselves say."""
        signal = self._signal
        squares = list(map(mul, signal, signal))
        return Shape(
            rms=sqrt(sum(squares) / self._count),
            peak=max(map(abs, signal)),
            fourth=sum(map(mul, squares, squares)) / self._count,
        )

    def sum_powers(self, first: int, end: int) -> float:
        """Return the mean square of some bins."""
        return sum(self._powers[first:end])

    def sum_integrated(self, first: int, end: int) -> float:
        """Return the mean square of the integral of some bins."""
        turn = 2 * pi * self._rate_hz / self._count
        powers = enumerate(self._powers[first:end], first)
        return sum(power / (turn * at) ** 2 for at, power in powers)

    def list_envelope(self, first: int, end: int) -> list[float]:
        """Return the amplitudes of the squared envelope's spectrum."""
        bins = end - first
        length = choose_envelope_length(bins)
        # Moved down to 0 Hz, and mirrored in time: neither changes the spectrum's magnitudes.
        band = self._spectrum[first:end] + [0j] * (length - bins)
        analytic = transform([number.conjugate() for number in band])
        scale = (2 / self._count) ** 2
        squared = [(number.real * number.real + number.imag * number.imag) * scale for number in analytic]
        mean = sum(squared) / length
        windowed = list(map(mul, map(sub, squared, repeat(mean)), _make_window(length)))
        # A window's mean is 1/2, and a line has half its amplitude on either side of 0 Hz.
        spectrum = transform_real(windowed)[:bins]
        return [abs(number) * 4 / length for number in spectrum]

    @cached_property
    def _spectrum(self) -> list[complex]:
        return transform_real(self._signal)

    @cached_property
    def _powers(self) -> list[float]:
        """The one-sided power of each bin under Hann's window, which is a sum of neighbours in a spectrum."""
        spectrum = self._spectrum
        below = [spectrum[1].conjugate(), *spectrum[:-1]]
        above = [*spectrum[1:], spectrum[-2].conjugate()]
        beside = map(mul, repeat(0.25), map(add, below, above))
        windowed = map(sub, map(mul, repeat(0.5), spectrum), beside)
        scale = 2 / (self._count**2 * HANN_POWER)
        powers = [(number.real * number.real + number.imag * number.imag) * scale for number in windowed]
        powers[0] /= 2
        powers[-1] /= 2
        return powers


@lru_cache(PLANS_MAX)
def _make_window(length: int) -> tuple[float, ...]:
    """Return Hann's window, periodic."""
    return tuple(0.5 - 0.5 * cos(2 * pi * at / length) for at in range(length))
