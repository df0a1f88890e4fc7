"""Starts the demo's programs, knows which of them live, and ends every one of them whatever happens."""

import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from models.errors import ForewarnError

PR_SET_PDEATHSIG = 1
END_S_MAX = 8.0


class ProgramFailed(ForewarnError):
    """A program of the demo ended or kept silent when it should not have."""


def find_free_port(first: int = 0) -> int:
    """Return a port of 127.0.0.1 that nobody listens on: `first` when it is free, else any."""
    for port in dict.fromkeys((first, 0)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ProgramFailed("127.0.0.1 has no free port left")


def is_answering(port: int) -> bool:
    """Return whether something accepts TCP connections on `port` of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(0.3)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float) -> None:
    """Return once `condition` holds; raise `ProgramFailed` naming `what` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise ProgramFailed(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.05)


class Program:
    """One program of the demo, in a process of its own, its output in a log file."""

    def __init__(self, name: str, command: Sequence[str], log_folder: Path) -> None:
        self.name = name
        self.log = log_folder / f"{name}.log"
        self._command = list(command)
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The id of the process while it runs."""
        return self._running.pid if self._running is not None and self._running.poll() is None else None

    def start(self) -> None:
        """Start it; standard error goes to the log, standard output can be read by `read_line`."""
        with self.log.open("ab") as log:
            self._running = subprocess.Popen(  # noqa: S603  # the commands are our own
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                # Ctrl-C goes to the demo alone, which then ends its programs in the right order.
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509  # called before any thread of ours runs Python code
            )

    def read_facts(self, timeout_s: float) -> dict[str, Any]:
        """Return the JSON object in the next line of its standard output."""
        assert self._running is not None
        assert self._running.stdout is not None
        ready, _, _ = select.select([self._running.stdout], [], [], timeout_s)
        line = self._running.stdout.readline() if ready else b""
        if not line:
            raise ProgramFailed(f"{self.name} {self._last_words(timeout_s)}")
        facts: dict[str, Any] = json.loads(line)
        return facts

    def wait(self, timeout_s: float) -> bytes:
        """Return its standard output once it has ended well; raise `ProgramFailed` otherwise."""
        output = self.read_output(timeout_s)
        if self._running is not None and self._running.returncode != 0:
            raise ProgramFailed(f"{self.name} {self._last_words(timeout_s)}")
        return output

    def read_output(self, timeout_s: float) -> bytes:
        """Return its standard output once it has ended, well or not; raise `ProgramFailed` if it does not."""
        assert self._running is not None
        try:
            output, _ = self._running.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise ProgramFailed(f"{self.name} did not end within {timeout_s:g} s; see {self.log}") from error
        return output

    def check(self) -> None:
        """Raise `ProgramFailed` with its last words when it has ended by itself."""
        if self._running is not None and self._running.poll() is not None:
            raise ProgramFailed(f"{self.name} {self._last_words(0)}")

    def kill(self) -> None:
        """Kill it (-9)."""
        self._signal(signal.SIGKILL)

    def ask_to_end(self) -> None:
        """Send SIGTERM, as a service manager would."""
        self._signal(signal.SIGTERM)

    def end(self) -> None:
        """See that it ends: asked first, killed when it does not."""
        self.ask_to_end()
        if self._running is None:
            return
        try:
            self._running.wait(END_S_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
            self._running.wait()
        if self._running.stdout is not None:
            self._running.stdout.close()

    def _signal(self, number: signal.Signals) -> None:
        if self._running is not None and self._running.poll() is None:
            self._running.send_signal(number)

    def _last_words(self, timeout_s: float) -> str:
        code = self._running.poll() if self._running is not None else None
        said = self.log.read_text(errors="replace").strip()[-1500:] if self.log.exists() else ""
        fate = f"said nothing within {timeout_s:g} s" if code is None else f"ended with code {code}"
        return f"{fate}; its log {self.log} ends:\n{said}"


def forewarn_command(*arguments: str) -> list[str]:
    """Return the command line that runs `forewarn ARGUMENTS` in this very installation."""
    return [sys.executable, "-m", "forewarn", *arguments]


def _die_with_parent() -> None:
    """Ask Linux to end the program when the demo dies, even by kill -9: it leaves no process behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
