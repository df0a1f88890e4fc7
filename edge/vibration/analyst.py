"""The one thread of a gateway that computes features, with a bound on what may wait for it."""

import asyncio
from array import array
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from math import inf
from threading import Lock

import msgspec

from edge.vibration.features import Features, Speed, compute_features, refuse_all
from edge.vibration.recording import choose_opener
from edge.vibration.settings import WaveformSettings
from models.telemetry import quality

WAITING_SAMPLES_MAX = 1_000_000
"""Of all machines together: 8 MB, and some seconds of pure Python at most when the program ends."""

AMPLITUDE_MAX = 1e30
"""Beyond it no sensor measures, and fourth powers would overflow."""


class Job(msgspec.Struct, frozen=True):
    """A waveform as it came, numbers before `settings.scale`, and how fast the shaft turned."""

    settings: WaveformSettings
    samples: "array[float]"
    speed: Speed


def compute(job: Job) -> Features:
    """Return the features of a waveform; those of one that cannot be a measurement are bad."""
    samples, scale = job.samples, job.settings.scale
    if scale != 1.0:
        samples = array("d", [number * scale for number in samples])
    low, high = min(samples, default=inf), max(samples, default=inf)
    # A NaN anywhere makes the sum one, wherever min and max have left it.
    if not (-AMPLITUDE_MAX < low <= high < AMPLITUDE_MAX and abs(sum(samples)) < inf):
        return refuse_all(job.settings, quality.BAD_SENSOR_FAILURE)
    return compute_features(samples, job.settings, job.speed, choose_opener())


class Analyst:
    """Computes one waveform after the other, off the event loop."""

    def __init__(self, waiting_samples_max: int = WAITING_SAMPLES_MAX) -> None:
        self._waiting_samples_max = waiting_samples_max
        self._waiting_samples = 0
        self._lock = Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vibration")

    def take(self, job: Job, tell: Callable[[], None]) -> "Future[Features] | None":
        """Return the features to be; None where too much waits already. `tell` is called when they are there.

        It is called on the event loop that this is called from.
        """
        size = len(job.samples)
        with self._lock:
            if self._waiting_samples and self._waiting_samples + size > self._waiting_samples_max:
                return None
            self._waiting_samples += size
        loop = asyncio.get_running_loop()

        def end(_: "Future[Features]") -> None:
            with self._lock:
                self._waiting_samples -= size
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(tell)

        future = self._thread.submit(compute, job)
        future.add_done_callback(end)
        return future


@cache
def find_analyst() -> Analyst:
    """Return the gateway's."""
    return Analyst()
