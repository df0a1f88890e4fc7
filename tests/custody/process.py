"""One program of the chain of the custody tests."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
END_S_MAX = 20.0


class Process:
    """One program of the chain: ended or killed, and begun again with the same words."""

    def __init__(
        self, name: str, folder: Path, words: Sequence[str], prefix: Sequence[str] = (), **environment: str
    ) -> None:
        self.name = name
        self._log = folder / f"{name}.log"
        self._words = [*prefix, sys.executable, "-m", *words]
        self._folder = ROOT
        self._environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"} | environment
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its number, while it runs."""
        assert self._running is not None
        return self._running.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._running is not None and self._running.poll() is None

    def start(self) -> None:
        """Begin; what it says goes behind what it said before."""
        with self._log.open("ab") as log:
            self._running = subprocess.Popen(
                self._words,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """Kill it (-9); not running: nothing."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._running is None:
            return
        self._running.send_signal(how)
        try:
            self._running.wait(END_S_MAX)
        except subprocess.TimeoutExpired:
            self._running.kill()
            self._running.wait()
        self._running = None

    def freeze(self) -> None:
        """Stop it where it is, as the instant at which power fails stops a computer."""
        assert self._running is not None
        self._running.send_signal(signal.SIGSTOP)

    def read_log(self) -> str:
        """Return all it said so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""
