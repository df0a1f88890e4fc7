"""The gateway cannot write to a machine: no such function code is in the code, and none reaches the wire."""

import ast
import asyncio
import inspect
import struct
from pathlib import Path

import pytest
from pymodbus.client.mixin import ModbusClientMixin
from typer.testing import CliRunner

import edge
from edge.drivers.modbus.mbap import READ_CODES
from forewarn.cli import app
from tests.integration.modbus_drivers import connect, tag
from tests.integration.modbus_rig import HOST, UnitsRig

EDGE = Path(edge.__file__).parent
READS = {"read_coils", "read_discrete_inputs", "read_holding_registers", "read_input_registers"}
WRITES = {5: "single coil", 6: "single register", 15: "coils", 16: "registers", 22: "mask", 23: "and read"}
# What pymodbus offers beside its requests, harmless by itself.
CONVERSIONS = {"convert_from_registers", "convert_to_registers", "DATATYPE"}
WAYS_AROUND = {"execute", "pdu_send", "low_level_send"}
ALLOWED_IMPORTS = {
    "pymodbus.client": {"AsyncModbusSerialClient", "AsyncModbusTcpClient", "AsyncModbusTlsClient"},
    "pymodbus.client.base": {"ModbusBaseClient"},
    "pymodbus.exceptions": {"ConnectionException", "ModbusException"},
    "pymodbus.framer": {"FramerType"},
    "pymodbus.pdu": {"ModbusPDU"},
}


def list_production() -> list[Path]:
    """Return what runs on a gateway: all of the edge but the simulated plant, which is a server."""
    return [file for file in EDGE.rglob("*.py") if "simulator" not in file.relative_to(EDGE).parts]


def list_words(tree: ast.AST) -> set[str]:
    """Return every name, attribute and text in the code: a call by `getattr` has its name in a text."""
    words: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            words.add(node.attr)
        elif isinstance(node, ast.Name):
            words.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            words.add(node.value)
    return words


@pytest.mark.parametrize("file", list_production(), ids=lambda file: file.relative_to(EDGE).as_posix())
def test_no_request_but_the_four_reads_is_named(file: Path) -> None:
    """Of all that pymodbus can send, the code names the four reads, and no way around them."""
    requests = {name for name, _ in inspect.getmembers(ModbusClientMixin) if not name.startswith("_")}
    assert len(requests) > 15
    forbidden = (requests | WAYS_AROUND) - READS - CONVERSIONS
    assert {"write_register", "write_registers", "write_coil", "write_coils"} <= forbidden
    tree = ast.parse(file.read_text())
    imported = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom | ast.Import) and "pymodbus" in ast.unparse(node)
    ]
    if not imported:  # names such as `execute` are SQLite's too, where pymodbus is not known
        assert not {word for word in list_words(tree) & forbidden if "write_" in word or "mask_" in word}
        return
    assert not list_words(tree) & forbidden
    codes = [
        ast.literal_eval(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and "function_code" in ast.unparse(node.targets[0])
    ]
    assert sorted(codes) == [1, 2, 3, 4]  # answers that the driver keeps as they stand
    for node in imported:
        assert isinstance(node, ast.ImportFrom)
        assert {alias.name for alias in node.names} <= ALLOWED_IMPORTS[node.module or ""]


def test_our_own_requests_are_made_in_one_place() -> None:
    """What is not asked through pymodbus is packed by one function, with one of the four codes that read."""
    assert sorted(READ_CODES.values()) == [1, 2, 3, 4]
    makers = [
        file.name for file in list_production() if "make_request" in list_words(ast.parse(file.read_text()))
    ]
    assert sorted(makers) == ["tcp.py"]
    senders = [
        file.name
        for file in (EDGE / "drivers" / "modbus").glob("*.py")
        if "send" in list_words(ast.parse(file.read_text()))
    ]
    assert senders == ["tcp.py"]


async def test_what_is_sent_are_reads_alone() -> None:
    """Reading all tables, looking for refused registers, retries and probing: nothing but codes 1 to 4."""
    rig = UnitsRig(1)
    await rig.start_tcp()
    tags = [
        *(tag(f"r{at}", at) for at in range(90, 110)),
        {"name": "i", "table": "input", "address": 0, "type": "float32"},
        *({"name": table, "table": table, "address": 5} for table in ("coil", "discrete")),
    ]
    driver = await connect(rig.port, tags, timeout_s=0.3)
    rig.delays_s = [0.4]  # a retry
    for _ in range(2):
        await driver.read()
    await driver.close()
    command = ["edge", "probe", HOST, "--port", str(rig.port), "--around", "10006", "--expect", "1"]
    await asyncio.to_thread(CliRunner().invoke, app, command)
    assert {function for _, function, *_ in rig.requests} == {1, 2, 3, 4}
    assert rig.written == []
    await rig.stop()


async def test_a_write_would_be_seen() -> None:
    """The server above notices each function code that writes."""
    rig = UnitsRig(1)
    await rig.start_tcp()
    reader, writer = await asyncio.open_connection(HOST, rig.port)
    for function in WRITES:
        writer.write(struct.pack(">HHHBBHH", 1, 0, 6, 1, function, 0, 1))
    writer.write(struct.pack(">HHHBBHH", 2, 0, 6, 1, 3, 0, 1))
    await reader.readexactly(11)
    assert rig.written == list(WRITES)
    writer.close()
    await rig.stop()
