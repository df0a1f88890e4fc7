"""Runs Forewarn's own commands as a user would: separate programs, settings in files, logs beside them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.servers import wait_until

END_S_MAX = 20.0


class Command:
    """One running `forewarn ...` command."""

    def __init__(self, folder: Path, name: str, *arguments: str) -> None:
        self.output, self.log = folder / f"{name}.out", folder / f"{name}.log"
        with self.output.open("wb") as output, self.log.open("wb") as log:
            self._running = subprocess.Popen(
                [sys.executable, "-m", "forewarn", *arguments],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
            )

    @property
    def code(self) -> int | None:
        """The exit code, None while it runs."""
        return self._running.poll()

    def wait(self, timeout_s: float = 60.0) -> int:
        """Return its exit code once it has ended."""
        return self._running.wait(timeout_s)

    def end(self) -> int:
        """Ask it to end and return its exit code; called again it does nothing."""
        if self._running.poll() is None:
            self._running.send_signal(signal.SIGTERM)
        try:
            return self._running.wait(END_S_MAX)
        except subprocess.TimeoutExpired:
            self._running.kill()
            self._running.wait()
            raise

    def kill(self) -> None:
        """Kill it (-9)."""
        self._running.kill()
        self._running.wait()

    def wait_for_line(self, word: str, timeout_s: float = 30.0) -> None:
        """Return once `word` stands in its output or log."""

        def is_said() -> bool:
            assert self.code is None, f"ended early:\n{self.log.read_text()[-2000:]}"
            return word in self.output.read_text() + self.log.read_text()

        wait_until(is_said, f"{word!r} in {self.log}", timeout_s)

    def read_json_lines(self) -> list[dict[str, Any]]:
        """Return the JSON objects that it printed."""
        return [json.loads(line) for line in self.output.read_text().splitlines() if line.startswith("{")]


def run_command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "forewarn", *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
