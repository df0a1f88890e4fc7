"""The Modbus driver against a server that neither we nor pymodbus wrote: libmodbus, over TCP and serial."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.telemetry import quality
from tests.integration.modbus_drivers import build, flatten, tag
from tests.integration.modbus_peers import HERE, SerialLine, compile_libmodbus
from tests.servers import Server, find_free_port, find_program

TIMEOUT_S = 2.0
ORDERS = {"ABCD": 150, "CDAB": 152, "BADC": 154, "DCBA": 156}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server, compiled."""
    return compile_libmodbus(HERE / "libmodbus_server.c", tmp_path_factory.mktemp("libmodbus"))


@pytest.fixture
def server(program: Path, tmp_path: Path) -> Iterator[Server]:
    """The server on a TCP port. It ends itself when anybody writes."""
    port = find_free_port()
    server = Server([str(program), "tcp", str(port)], port, tmp_path)
    server.start()
    yield server
    server.stop()


def list_tags() -> list[dict[str, Any]]:
    """Return tags in all four tables, more registers than one request takes, and floats in every order."""
    words = [tag(f"h{at}", at) for at in range(0, 150, 2)]
    floats = [
        {"name": order, "table": "holding", "address": at, "type": "float32", "byte_order": order}
        for order, at in ORDERS.items()
    ]
    others = [
        {"name": "i7", "table": "input", "address": 7, "type": "uint16"},
        *({"name": f"c{at}", "table": "coil", "address": at} for at in (8, 9, 63)),
        *({"name": f"d{at}", "table": "discrete", "address": at} for at in (8, 9, 63)),
    ]
    return words + floats + others


EXPECTED = {
    **{f"h{at}": 3.0 * at for at in range(0, 150, 2)},
    **dict.fromkeys(ORDERS, 12.315),
    "i7": 1_007.0,
    "c8": 0.0,
    "c9": 1.0,
    "c63": 1.0,
    "d8": 0.0,
    "d9": 1.0,
    "d63": 1.0,
}


async def test_every_table_and_byte_order_over_tcp(server: Server) -> None:
    """Bits, more registers than one request takes, floats in each order: every value is as it was served."""
    driver = build(server.port, list_tags(), timeout_s=TIMEOUT_S)
    await driver.connect()
    for _ in range(3):
        frames = await driver.read()
        assert flatten(frames) == EXPECTED
        assert not any(frame.quality for frame in frames)
    await driver.close()


async def test_what_it_refuses_is_found(server: Server) -> None:
    """Registers behind its last cost their own tags only; the connection is used on."""
    tags = [tag(f"r{at}", at) for at in range(190, 203)]
    driver = build(server.port, tags, timeout_s=TIMEOUT_S)
    await driver.connect()
    for _ in range(2):
        frames = await driver.read()
        assert flatten(frames) == {f"r{at}": 3.0 * at if at < 200 else None for at in range(190, 203)}
        bad = {name: rows[0] for frame in frames for name, rows in frame.quality.items()}
        assert bad == dict.fromkeys(("r200", "r201", "r202"), quality.BAD_CONFIGURATION_ERROR)
    await driver.close()


async def read_over_serial(line: SerialLine, timeout_s: float) -> None:
    """See that a server at one end of a serial line gives what is expected, three times."""
    serial = {"device": line.devices[1], "parity": "none"}  # a pseudo terminal knows no parity
    driver = build(0, list_tags(), transport="rtu", serial=serial, timeout_s=timeout_s)
    await driver.connect()
    for _ in range(3):
        assert flatten(await driver.read()) == EXPECTED
    await driver.close()


async def test_over_a_serial_line(program: Path) -> None:
    """RTU frames, their checksums and gaps, as libmodbus has them."""
    line = SerialLine()
    running = subprocess.Popen([program, "rtu", line.devices[0]])
    try:
        await read_over_serial(line, timeout_s=TIMEOUT_S)
        assert running.poll() is None
    finally:
        running.kill()
        running.wait(10)
        line.close()


async def test_mbpoll_reads_the_same(server: Server) -> None:
    """Two programs that know nothing of each other agree about the words and the two common byte orders."""
    mbpoll = [find_program("mbpoll"), "-1", "-0", "-q", "-p", str(server.port), "-a", "1"]

    def poll(*options: str) -> list[float]:
        command = [*mbpoll, *options, "127.0.0.1"]
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        return [float(value) for value in re.findall(r"^\[\d+\]:\s+(\S+)", told.stdout, re.MULTILINE)]

    seen = {
        "words": poll("-t", "4", "-r", "20", "-c", "3"),
        "ABCD": poll("-t", "4:float", "-B", "-r", "150", "-c", "1"),
        "CDAB": poll("-t", "4:float", "-r", "152", "-c", "1"),
    }
    driver = build(server.port, list_tags(), timeout_s=TIMEOUT_S)
    await driver.connect()
    values = flatten(await driver.read())
    await driver.close()
    assert seen == {"words": [60.0, 63.0, 66.0], "ABCD": [values["ABCD"]], "CDAB": [values["CDAB"]]}
    assert seen["words"][::2] == [values["h20"], values["h22"]]
