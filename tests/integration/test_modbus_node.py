"""The Modbus driver against npm's servers: modbus-serial and jsmodbus, over TCP, serial frames and a port."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.telemetry import quality
from tests.integration.modbus_drivers import build, flatten, tag
from tests.integration.modbus_peers import NodeServer, SerialLine, make_node_command
from tests.integration.test_modbus_foreign import EXPECTED, TIMEOUT_S, list_tags, read_over_serial
from tests.servers import find_free_port

SERVERS = [("modbus-serial", "tcp"), ("jsmodbus", "tcp"), ("jsmodbus", "rtu-over-tcp")]


@pytest.fixture(params=SERVERS, ids=" ".join)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str, NodeServer]]:
    """Each server on a TCP port. It ends itself when anybody writes."""
    package, transport = request.param
    words = (transport,) if package == "jsmodbus" else ()
    server = NodeServer(package, find_free_port(), tmp_path, *words)
    server.start()
    yield package, transport, server
    server.stop()


async def test_every_table_and_byte_order(server: tuple[str, str, NodeServer]) -> None:
    """Bits, more registers than one request takes, floats in each order: every value is as it was served."""
    _, transport, running = server
    driver = build(running.port, list_tags(), timeout_s=TIMEOUT_S, transport=transport)
    await driver.connect()
    for _ in range(3):
        frames = await driver.read()
        assert flatten(frames) == EXPECTED
        assert not any(frame.quality for frame in frames)
    await driver.close()


async def test_what_is_not_there_is_found(server: tuple[str, str, NodeServer]) -> None:
    """modbus-serial refuses what lies behind its last register; jsmodbus sends less than was asked for."""
    package, transport, running = server
    tags = [tag(f"r{at}", at) for at in range(190, 203)]
    driver = build(running.port, tags, timeout_s=TIMEOUT_S, transport=transport)
    await driver.connect()
    code = quality.BAD_COMMUNICATION_ERROR if package == "jsmodbus" else quality.BAD_CONFIGURATION_ERROR
    for _ in range(2):
        frames = await driver.read()
        assert flatten(frames) == {f"r{at}": 3.0 * at if at < 200 else None for at in range(190, 203)}
        bad = {name: rows[0] for frame in frames for name, rows in frame.quality.items()}
        assert bad == dict.fromkeys(("r200", "r201", "r202"), code)
    await driver.close()


async def test_a_server_that_comes_back_is_read_again(server: tuple[str, str, NodeServer]) -> None:
    """Killed and started anew on its port: a new connection reads on."""
    _, transport, running = server
    driver = build(running.port, list_tags(), timeout_s=TIMEOUT_S, transport=transport)
    await driver.connect()
    running.kill()
    running.start()
    await driver.close()
    await driver.connect()
    assert flatten(await driver.read()) == EXPECTED
    await driver.close()


async def test_jsmodbus_over_a_serial_line() -> None:
    """Its RTU frames through a pair of ports; modbus-serial's RTU server needs a compiled part of npm's."""
    line = SerialLine()
    running = subprocess.Popen(make_node_command("jsmodbus", line.devices[0], "rtu"))
    try:
        await read_over_serial(line, timeout_s=10.0)
        assert running.poll() is None
    finally:
        running.kill()
        running.wait(10)
        line.close()
