"""The custody tests' way through network namespaces: while it is cut there is silence, never an error."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tests.custody.namespaces import NamespacesRefused, NamespaceWay, NoNamespaces
from tests.integration.disk_rig import need_root
from tests.servers import miss, wait_until

LINES = 60
CUT_S = 1.5
TALK = """
import socket, sys, time
way = socket.create_connection((sys.argv[1], int(sys.argv[2])))
for number in range(int(sys.argv[3])):
    way.sendall(b"%d\\n" % number)
    time.sleep(0.05)
"""


@pytest.fixture
def way() -> Iterator[NamespaceWay]:
    """An open way."""
    need_root("make network namespaces")
    way = NamespaceWay()
    try:
        way.open()
    except NamespacesRefused as reason:
        pytest.skip(f"no network namespaces can be made here: {reason}")
    except NoNamespaces as reason:
        miss(str(reason))
    yield way
    way.stop()


class Ear:
    """Hears one connection to the end."""

    def __init__(self, host: str, port: int) -> None:
        self.heard = b""
        self._listening = socket.create_server((host, port))
        self._thread = threading.Thread(target=self._hear, daemon=True)
        self._thread.start()

    def _hear(self) -> None:
        connection, _ = self._listening.accept()
        while piece := connection.recv(10_000):
            self.heard += piece
        connection.close()

    def close(self) -> None:
        """Wait for the end of the connection."""
        self._thread.join(30)
        self._listening.close()
        assert not self._thread.is_alive()


def test_a_cut_is_silence_and_nothing_is_lost_for_tcp(way: NamespaceWay) -> None:
    """While the link is down nothing comes and nobody is told; then all of it comes, some sent again."""
    ear = Ear(way.host, way.port)
    words = [*way.prefix, sys.executable, "-c", TALK, way.host, str(way.port), str(LINES)]
    with subprocess.Popen(words) as talker:
        wait_until(lambda: len(ear.heard) > 0, "the first line is heard")
        before = way.count_resent()
        way.set("cut")
        time.sleep(0.1)  # what was under way arrives
        heard = ear.heard
        time.sleep(CUT_S)
        assert ear.heard == heard
        assert talker.poll() is None
        way.heal()
        assert talker.wait(30) == 0
    ear.close()
    assert ear.heard == b"".join(b"%d\n" % number for number in range(LINES))
    assert way.count_resent() > before


def test_answers_alone_can_be_lost(way: NamespaceWay) -> None:
    """What the gateways' side says arrives, though it never hears so and says it again."""
    ear = Ear(way.host, way.port)
    words = [*way.prefix, sys.executable, "-c", TALK, way.host, str(way.port), "20"]
    with subprocess.Popen(words) as talker:
        wait_until(lambda: len(ear.heard) > 0, "the first line is heard")
        before, heard = way.count_resent(), ear.heard
        way.set("drop_answers")
        wait_until(lambda: len(ear.heard) > len(heard), "more is heard")
        wait_until(lambda: way.count_resent() > before, "it is said again")
        way.heal()
        assert talker.wait(30) == 0
    ear.close()
    assert ear.heard == b"".join(b"%d\n" % number for number in range(20))
