"""How much memory the demo takes, all of its programs together."""

import threading

import psutil

BYTES_PER_MB = 1_000_000
EVERY_S = 0.5


class MemoryWatch:
    """Remembers the most memory that was ever taken, from `start` to `stop`; it looks every half second."""

    def __init__(self) -> None:
        self.mb_peak = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Begin to look, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(EVERY_S):
            self.mb_peak = max(self.mb_peak, measure_memory_mb())


def measure_memory_mb() -> float:
    """Return the memory of this process and all that it started, in MB: proportional set size, summed.

    PSS counts a page that n processes share as 1/n to each, so the sum is what the machine really gives.
    Where the system does not tell it (not Linux), the resident set size stands in, which is never smaller.
    """
    this = psutil.Process()
    return sum(_measure_one(one) for one in [this, *this.children(recursive=True)]) / BYTES_PER_MB


def _measure_one(running: psutil.Process) -> int:
    try:
        used = running.memory_full_info()
    except (psutil.NoSuchProcess, psutil.AccessDenied):  # it ended this instant
        return 0
    return int(getattr(used, "pss", 0) or used.rss)
