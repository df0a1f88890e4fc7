"""Modbus servers that were not written here: libmodbus, compiled, and npm's, run by node."""

import os
import select
import subprocess
import threading
import tty
from pathlib import Path

from tests.servers import Server, find_peer, find_program, miss

HERE = Path(__file__).parent


def compile_libmodbus(source: Path, folder: Path) -> Path:
    """Return the program made of a C file and libmodbus; skip the test without it, or fail where required."""
    compiler, built = find_program("gcc"), folder / source.stem
    flags = ["-O2", "-Wall", "-Werror", "-I/usr/include/modbus", "-o", str(built), str(source), "-lmodbus"]
    told = subprocess.run([compiler, *flags], capture_output=True, text=True, check=False)
    if told.returncode and "modbus.h: No such file" in told.stderr:
        miss("libmodbus-dev is not installed: make services")
    assert told.returncode == 0, told.stderr
    return built


class NodeServer(Server):
    """A script of tests/peers on a port of 127.0.0.1, with npm's `package`."""

    def __init__(self, package: str, port: int, folder: Path, *words: str) -> None:
        super().__init__(make_node_command(package, str(port), *words), port, folder)


def make_node_command(package: str, *words: str) -> list[str]:
    """Return how the server by npm's `package` is begun; skip the test without it, or fail where required."""
    script = find_peer(package) / f"{package.replace('-', '_')}_server.js"
    return [find_program("node"), str(script), *words]


class SerialLine:
    """Two serial ports with a cable between them: what is written into one is read from the other."""

    def __init__(self) -> None:
        self._files: list[int] = []
        self.devices: list[str] = []
        for _ in range(2):
            ours, theirs = os.openpty()
            tty.setraw(theirs)
            self._files += [ours, theirs]
            self.devices.append(os.ttyname(theirs))
        self._ended = threading.Event()
        self._cable = threading.Thread(target=self._pass_on)
        self._cable.start()

    def _pass_on(self) -> None:
        left, _, right, _ = self._files
        while not self._ended.is_set():
            for end in select.select([left, right], [], [], 0.05)[0]:
                os.write(left if end == right else right, os.read(end, 512))

    def close(self) -> None:
        """Pull the cable out."""
        self._ended.set()
        self._cable.join()
        for file in self._files:
            os.close(file)
