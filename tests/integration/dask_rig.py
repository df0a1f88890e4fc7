"""A Dask cluster of real processes on 127.0.0.1: a scheduler, and workers that can be stopped and killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from distributed import Client

ROOT = Path(__file__).parent.parent.parent
START_S_MAX = 60.0


class DaskRig:
    """Starts one scheduler; workers are added, frozen and killed by their place in the list."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "scheduler.json"
        self.workers: list[subprocess.Popen[bytes]] = []
        where = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show"]
        self.scheduler = self._start("scheduler", *where, "--scheduler-file", str(self.file))
        wait_until(self.file.is_file, "the scheduler has begun")
        self.client = Client(scheduler_file=str(self.file), set_as_default=False)
        self.address = str(self.client.scheduler.address)

    def add_worker(self) -> int:
        """Start a worker of one thread, wait until it is known, and return its place."""
        before = len(self.client.nthreads())
        place = ["--local-directory", str(self.folder / f"worker-{len(self.workers)}")]
        options = ["--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        self.workers.append(self._start("worker", self.address, *options, *place))
        wait_until(lambda: len(self.client.nthreads()) > before, "the worker has joined")
        return len(self.workers) - 1

    def freeze(self, place: int) -> None:
        """Let a worker hang: it stays connected and answers nothing."""
        self.workers[place].send_signal(signal.SIGSTOP)

    def kill(self, place: int) -> None:
        """End a worker without a word."""
        self.workers[place].kill()
        self.workers[place].wait()

    def has_work(self) -> bool:
        """Return whether a worker was given something."""
        return any(self.client.processing().values())

    def close(self) -> None:
        """End all of it."""
        self.client.close()
        for program in [*self.workers, self.scheduler]:
            program.kill()
            program.wait()

    def _start(self, what: str, *words: str) -> "subprocess.Popen[bytes]":
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        with (self.folder / f"{what}-{len(self.workers)}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", what, *words],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONPATH": paths},
                cwd=self.folder,
            )


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Wait until something is so; fail after `START_S_MAX`."""
    deadline_s = time.monotonic() + START_S_MAX
    while not is_so():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.05)
