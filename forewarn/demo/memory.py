"""How much memory the demo's programs take together."""

import os
from collections.abc import Iterable

import psutil

BYTES_PER_MB = 1_000_000


def measure_memory_mb(pids: Iterable[int]) -> float:
    """Return the memory of the processes `pids` and of this one in MB: proportional set size, summed.

    PSS counts a page that n processes share as 1/n to each, so the sum is what the machine really gives.
    Where the system does not tell it (not Linux), the resident set size stands in, which is never smaller.
    """
    return sum(_measure_one(pid) for pid in {os.getpid(), *pids}) / BYTES_PER_MB


def _measure_one(pid: int) -> int:
    try:
        used = psutil.Process(pid).memory_full_info()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0
    return int(getattr(used, "pss", 0) or used.rss)
