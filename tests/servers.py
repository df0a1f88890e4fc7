"""Real servers for tests: started on free ports of 127.0.0.1, stopped at the end, killed on demand."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from forewarn.demo.programs import find_free_port, is_answering
from models.link import BrokerSettings

START_S_MAX = 20.0


def miss(message: str) -> NoReturn:
    """Skip the test for want of something; where services are required its absence is a failure."""
    if os.environ.get("FOREWARN_REQUIRE_SERVICES") == "1":
        pytest.fail(message)
    pytest.skip(message)


def find_program(name: str) -> str:
    """Return where a server's program is; skip the test without it, or fail where services are required."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        miss(f"{name} is not installed: make services")
    return found


def find_peer(package: str) -> Path:
    """Return the folder below which node finds `package`; without it skip the test, or fail it."""
    find_program("node")
    folder = Path(__file__).parent / "peers"
    if not (folder / "node_modules" / package / "package.json").is_file():
        miss(f"npm's {package} is not installed: make services")
    return folder


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = START_S_MAX) -> None:
    """Return once `condition` holds; fail the test, saying `what`, when it does not within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.02)


class Server:
    """A server program that listens on one port of 127.0.0.1 and can be killed and started again."""

    def __init__(self, command: list[str], port: int, folder: Path) -> None:
        self.host = "127.0.0.1"
        self.port = port
        self._command = command
        self._log = folder / f"{Path(command[0]).name}-{port}.log"
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the program and wait until it answers."""
        with self._log.open("ab") as log:
            self._running = subprocess.Popen(self._command, stdout=log, stderr=log)
        wait_until(self._is_up, f"{self._command[0]} answers on port {self.port}; its log: {self._log}")

    def _is_up(self) -> bool:
        assert self._running is not None
        if self._running.poll() is not None:
            pytest.fail(f"{self._command[0]} ended at once:\n{self._log.read_text(errors='replace')[-2000:]}")
        return is_answering(self.port)

    def kill(self) -> None:
        """Kill it (-9), as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end, and see that it does."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Stop it from running without closing its connections."""
        assert self._running is not None
        self._running.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it run again."""
        assert self._running is not None
        self._running.send_signal(signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._running is None:
            return
        self._running.send_signal(signal.SIGCONT)
        self._running.send_signal(how)
        try:
            self._running.wait(10)
        except subprocess.TimeoutExpired:
            self._running.kill()
            self._running.wait(10)
        self._running = None


class Mosquitto(Server):
    """Debian's Mosquitto, without persistence; extra configuration lines may be given."""

    def __init__(self, folder: Path, *lines: str) -> None:
        port = find_free_port()
        configuration = folder / f"mosquitto-{port}.conf"
        # Started by root it would become another user, who may not read the test's folder.
        own = [f"listener {port} 127.0.0.1", "allow_anonymous true", "persistence false", "user root"]
        configuration.write_text("\n".join([*own, *lines]) + "\n")
        super().__init__([find_program("mosquitto"), "-c", str(configuration)], port, folder)

    @property
    def settings(self) -> BrokerSettings:
        """How a link reaches this broker."""
        return BrokerSettings(host=self.host, port=self.port)
