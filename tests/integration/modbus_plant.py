"""A plant of Modbus machines, some of them dead, and the real gateway that polls it: how late polls are."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from tests.integration.modbus_peers import HERE, compile_libmodbus
from tests.servers import find_free_port, wait_until

Death = Literal["black hole", "refused", "silent"]
DEATHS: tuple[Death, ...] = ("black hole", "refused", "silent")
MICROSECONDS = 1_000_000


class Punctuality(msgspec.Struct, frozen=True):
    """How the living machines were polled: how late each request came, ascending, and how many never came."""

    machines: int
    polls: int
    missed: int
    lateness_ms: list[float]

    def quantile_ms(self, share: float) -> float:
        """Return how late all but a share of the polls were at most."""
        return self.lateness_ms[min(len(self.lateness_ms) - 1, int(share * len(self.lateness_ms)))]


def measure_punctuality(log: Path, interval_s: float, skip_s: float) -> Punctuality:
    """Read what the machines tell of their requests, of which each poll is one; leave out the first `skip_s`.

    Of a machine's polls the one that is on its schedule best sets it: the others are late by it.
    """
    seen: dict[int, list[int]] = defaultdict(list)
    for line in log.read_text().splitlines():
        machine, _, at_us = line.partition(" ")
        seen[int(machine)].append(int(at_us))
    begin_us = min(times[0] for times in seen.values()) + int(skip_s * MICROSECONDS)
    step_us = interval_s * MICROSECONDS
    lateness: list[float] = []
    missed = 0
    for times in seen.values():
        counted = [at for at in times if at >= begin_us]
        cycles = [round((at - counted[0]) / step_us) for at in counted]
        missed += cycles[-1] + 1 - len(set(cycles))
        delays = [at - cycle * step_us for at, cycle in zip(counted, cycles, strict=True)]
        lateness += [(delay - min(delays)) / 1_000 for delay in delays]
    return Punctuality(len(seen), len(lateness), missed, sorted(lateness))


@contextlib.contextmanager
def dying_machines(deaths: Sequence[Death], port: int) -> Iterator[list[str]]:
    """Keep machines at 127.0.1.1, 127.0.1.2 ... that are dead in these ways; the hosts."""
    with contextlib.ExitStack() as stack:
        hosts = [f"127.0.1.{number}" for number in range(1, len(deaths) + 1)]
        for host, death in zip(hosts, deaths, strict=True):
            if death == "refused":
                continue
            listener = stack.enter_context(socket.socket())
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            # The kernel accepts for whoever listens, and nobody reads. With a full queue it answers nothing.
            listener.listen(0 if death == "black hole" else 64)
            if death == "black hole":
                fill_queue(stack, host, port)
        yield hosts


def fill_queue(stack: contextlib.ExitStack, host: str, port: int) -> None:
    """Connect until the host's kernel drops what comes, as a firewall would."""
    for _ in range(8):
        knocking = stack.enter_context(socket.socket())
        knocking.settimeout(0.3)
        try:
            knocking.connect((host, port))
        except TimeoutError:
            return
    raise AssertionError(f"{host}:{port} still answers")


def describe_machine(number: int, host: str, port: int, tags: int, **more: Any) -> dict[str, Any]:
    """Return a machine's settings."""
    registers = [
        {"name": f"r{at}", "table": "holding", "address": at, "type": "uint16"} for at in range(tags)
    ]
    path = f"riverside/hall-1/water/machine-{number}"
    return {"kind": "modbus", "path": path, "host": host, "port": port, "tags": registers, **more}


@contextlib.contextmanager
def running_plant(folder: Path, machines: int, port: int) -> Iterator[Path]:
    """Run so many living machines while the block runs; the file in which they tell of each request."""
    program, log = compile_libmodbus(HERE / "libmodbus_plant.c", folder), folder / "requests.log"
    with log.open("wb") as told:
        server = subprocess.Popen([program, str(port), str(machines)], stdout=told)
    try:
        wait_until(lambda: _is_listening("127.0.0.1", port), "the plant listens")
        yield log
        assert server.poll() is None, "somebody wrote, or it broke"
    finally:
        server.kill()
        server.wait()


@contextlib.contextmanager
def running_gateway(
    folder: Path, machines: Sequence[dict[str, Any]], *, broker_port: int = 1, **more: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `forewarn edge run` on these machines while the block runs, and see it end in order."""
    settings = {
        "gateway": "pi-01",
        "broker": {"host": "127.0.0.1", "port": broker_port},
        "outbox": {"path": "outbox.sqlite"},
        "health": {"port": None},
        "machines": list(machines),
        **more,
    }
    (folder / "edge.yaml").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "forewarn", "edge", "run", "--config", "edge.yaml"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with (folder / "gateway.log").open("wb") as log:
        gateway = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        yield gateway
        gateway.terminate()
        assert gateway.wait(60) == 0, (folder / "gateway.log").read_text()[-2000:]
    finally:
        gateway.kill()
        gateway.wait()


def choose_port() -> int:
    """Return a port that is free on every address of this computer."""
    while True:
        port = find_free_port()
        with contextlib.suppress(OSError), socket.socket() as knocking:
            knocking.bind(("0.0.0.0", port))  # bound for an instant, never listened on
            return port


def _is_listening(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1.0):
        return True
    return False
