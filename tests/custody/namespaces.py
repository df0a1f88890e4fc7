"""The way between gateways and broker through network namespaces: a link that can be pulled, a bad line."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.custody.way import LATENCY_S, LOSS, Mode
from tests.servers import find_free_port

ROOT = Path(__file__).parents[2]
NAMESPACES = Path("/run/netns")
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
LINES: dict[Mode, tuple[float, float, float]] = {
    "ok": (0.0, 0.0, 0.0),
    "cut": (0.0, 0.0, 0.0),
    "drop_answers": (0.0, 0.0, 1.0),
    "slow": (LATENCY_S, LOSS, LOSS),
}
"""Latency (s), what is lost on the way out and on the way back. A way that is cut is a link that is down."""


class NoNamespaces(Exception):
    """This computer, or this user, has no network namespaces; it says why."""


class NamespacesRefused(NoNamespaces):
    """The programs are there, and the kernel or the container says no."""


class NamespaceWay:
    """Gateways and machines in a namespace of their own; between them and the broker's address a third one
    with nothing but a line in it (`tests.custody.wire`).

    Packets that are lost are lost for TCP: no end of a connection, no reset, no error from the network.
    """

    words = "network namespaces: packets vanish below TCP"

    def __init__(self) -> None:
        number = os.getpid()
        self._site, self._line = f"forewarn-{number}-site", f"forewarn-{number}-line"
        self._cloud_link = f"fw{number}"
        # A block of four addresses of its own, so that two runs may go on beside each other.
        block = number % (256 * 64)
        net = f"10.231.{block // 64}.{block % 64 * 4}".rsplit(".", 1)
        self._gateway_address, self.host = (f"{net[0]}.{int(net[1]) + last}" for last in (1, 2))
        self.port = find_free_port()
        self.broker_lines = [f"listener {self.port} {self.host}"]
        self._relay: subprocess.Popen[str] | None = None

    @property
    def prefix(self) -> list[str]:
        """What stands before the words of a program that lives beside the machines."""
        return _enter(self._site)

    def start(self, _broker_port: int) -> None:
        """The broker listens at our end: there is nothing to do."""

    def open(self) -> None:
        """Make namespaces, links and line; raise `NoNamespaces`."""
        if os.geteuid() != 0:
            raise NoNamespaces("only root may make network namespaces")
        for program in ("ip", "nsenter"):
            if shutil.which(program, path=PATH) is None:
                raise NoNamespaces(f"{program} is not installed (Debian's iproute2, util-linux)")
        try:
            self._make_links()
            self._start_line()
        except (OSError, subprocess.CalledProcessError) as error:
            self.stop()
            raise NamespacesRefused((getattr(error, "stderr", None) or str(error)).strip()) from error

    def _make_links(self) -> None:
        site, line, cloud = self._site, self._line, self._cloud_link
        near, far = "02:00:00:00:00:01", "02:00:00:00:00:02"
        for name in (site, line):
            _run("ip", "netns", "add", name)
        for command in (
            f"ip link add uplink address {near} netns {site} type veth peer name site netns {line}",
            f"ip link add {cloud} address {far} type veth peer name cloud netns {line}",
            f"ip -n {site} addr add {self._gateway_address}/30 dev uplink",
            f"ip addr add {self.host}/30 dev {cloud}",
            f"ip -n {site} link set lo up",
            f"ip -n {site} link set uplink up",
            f"ip -n {line} link set site up",
            f"ip -n {line} link set cloud up",
            f"ip link set {cloud} up",
            # Known for good: an address that is asked for in vain would be an error, not silence.
            f"ip -n {site} neigh add {self.host} lladdr {far} dev uplink nud permanent",
            f"ip neigh add {self._gateway_address} lladdr {near} dev {cloud} nud permanent",
        ):
            _run(*command.split())

    def _start_line(self) -> None:
        self._relay = subprocess.Popen(
            [*_enter(self._line), sys.executable, "-m", "tests.custody.wire", "site", "cloud"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read_answer("ready")

    def _read_answer(self, expected: str) -> None:
        assert self._relay is not None
        assert self._relay.stdout is not None
        answer = self._relay.stdout.readline().strip()
        if answer != expected:
            raise OSError(f"the line between the namespaces ended: {answer!r}")

    def set(self, mode: Mode) -> None:
        """Be such a way from now on."""
        assert self._relay is not None
        assert self._relay.stdin is not None
        self._relay.stdin.write(" ".join(map(str, LINES[mode])) + "\n")
        self._relay.stdin.flush()
        self._read_answer("changed")
        state = "down" if mode == "cut" else "up"
        _run("ip", "-n", self._line, "link", "set", "cloud", state)

    def heal(self) -> None:
        """Carry everything again; what was sent meanwhile, TCP sends again when it thinks fit."""
        self.set("ok")

    def count_resent(self) -> int:
        """Return how many segments the programs beside the machines had to send again."""
        text = _run(*self.prefix, "cat", "/proc/net/snmp")
        heads, counts = (line.split() for line in text.splitlines() if line.startswith("Tcp:"))
        return int(counts[heads.index("RetransSegs")])

    def stop(self) -> None:
        """Take everything away."""
        if self._relay is not None:
            assert self._relay.stdin is not None
            self._relay.stdin.close()
            self._relay.wait(10)
        for words in (
            ["ip", "link", "delete", self._cloud_link],
            ["ip", "netns", "delete", self._site],
            ["ip", "netns", "delete", self._line],
        ):
            subprocess.run(words, check=False, capture_output=True, env=os.environ | {"PATH": PATH})


def _enter(namespace: str) -> list[str]:
    # Not `ip netns exec`, which gives a program mounts of its own as well: a disk taken away would stay.
    return ["nsenter", f"--net={NAMESPACES / namespace}"]


def _run(*command: str) -> str:
    """Run a command; what it printed."""
    environment = os.environ | {"PATH": PATH}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
