"""Fixtures that every folder of tests uses."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Mosquitto, find_free_port

SHARED = Path(__file__).parent.parent.parent / "shared"


@pytest.fixture
def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    return find_free_port()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A running MQTT broker of the test's own."""
    broker = Mosquitto(tmp_path)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real machine recordings, which is not part of the project."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"recorded machine data are not here ({folder})")
    return folder
