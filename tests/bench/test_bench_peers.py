"""Our gateway beside ThingsBoard's, Node-RED and the obvious few lines, over the same seconds."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.peers import page
from tests.bench.peers.comparing import compare, render_table
from tests.bench.peers.custody import Schedule, describe, endure
from tests.bench.peers.gateways import (
    Forewarn,
    Gateway,
    ObviousOpcua,
    ThingsBoard,
    modbus_machine,
    opcua_machine,
    thingsboard_modbus,
    thingsboard_opcua,
)
from tests.bench.peers.listener import Listener
from tests.bench.peers.machines import ModbusMachine, OpcuaMachine, compile_modbus_server
from tests.bench.peers.node_red import NodeRed, is_installed
from tests.servers import Mosquitto

TAGS = 1_000
FEW_TAGS = 100

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]


@pytest.fixture
def listener(mosquitto: Mosquitto) -> Iterator[Listener]:
    """Whoever hears all gateways."""
    listener = Listener(mosquitto.port)
    yield listener
    listener.stop()


class ModbusPark:
    """Modbus servers, one for each gateway, since each counts its own polls."""

    def __init__(self, folder: Path, registers: int) -> None:
        self._folder = folder
        self._program = compile_modbus_server(folder)
        self._registers = registers
        self._machines: list[ModbusMachine] = []

    def add(self) -> int:
        """Start one more; return its port."""
        machine = ModbusMachine(self._program, self._folder, self._registers)
        machine.start()
        self._machines.append(machine)
        return machine.port

    def stop(self) -> None:
        """End all."""
        for machine in self._machines:
            machine.stop()


def test_modbus(mosquitto: Mosquitto, listener: Listener, tmp_path: Path) -> None:
    """1,000 registers at 1 s: prints CPU per value that arrived, memory and delay of each gateway."""
    park, port = ModbusPark(tmp_path, TAGS), mosquitto.port
    try:
        ours = Forewarn("forewarn", tmp_path, port, modbus_machine(park.add(), TAGS))
        brisk = Forewarn("brisk", tmp_path, port, modbus_machine(park.add(), TAGS), flush_s=0.1)
        brisk.title = "Forewarn, flush_s: 0.1"
        thingsboard = ThingsBoard(
            "thingsboard", tmp_path, port, thingsboard_modbus("thingsboard", park.add(), TAGS)
        )
        gateways: list[Gateway] = [ours, brisk, thingsboard]
        if is_installed():
            gateways.append(NodeRed("node-red", tmp_path, port, park.add(), TAGS))
        findings = compare(gateways, listener)
    finally:
        park.stop()
    table = render_table(findings, f"{TAGS:,} Modbus registers at 1 s, a libmodbus server each")
    print(f"\n{table}\nfloor: ThingsBoard's CPU per value 40 times ours, our RSS at most its own")
    page.keep("modbus", table)


def test_opcua(mosquitto: Mosquitto, listener: Listener, tmp_path: Path) -> None:
    """1,000 nodes polled at 1 s, against ThingsBoard's gateway and asyncua's bulk read."""
    port = mosquitto.port
    together, each = [OpcuaMachine(tmp_path, TAGS, manner) for manner in ("together", "each")]
    together.start()
    each.start()
    try:
        ours = Forewarn("forewarn", tmp_path, port, opcua_machine(together.url, TAGS))
        apart = Forewarn("apart", tmp_path, port, opcua_machine(each.url, TAGS))
        apart.title = "Forewarn, where every value has a source timestamp of its own"
        connector = thingsboard_opcua("thingsboard", together.url, TAGS)
        thingsboard = ThingsBoard("thingsboard", tmp_path, port, connector)
        obvious = ObviousOpcua("obvious", tmp_path, port, together.url, TAGS)
        findings = compare([ours, apart, thingsboard, obvious], listener)
    finally:
        together.stop()
        each.stop()
    table = render_table(findings, f"{TAGS:,} OPC UA nodes of a node-opcua server, polled at 1 s")
    print(f"\n{table}\nfloor: ThingsBoard's CPU per value 12 times ours")
    page.keep("opcua", table)


def test_custody(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """The broker killed twice for 10 s, then once together with the gateways: what never arrived."""
    park, port = ModbusPark(tmp_path, FEW_TAGS), mosquitto.port
    try:
        gateways: list[Gateway] = [Forewarn("forewarn", tmp_path, port, modbus_machine(park.add(), FEW_TAGS))]
        for storage in ("memory", "file", "sqlite"):
            connector = thingsboard_modbus(storage, park.add(), FEW_TAGS)
            gateways.append(ThingsBoard(storage, tmp_path, port, connector, storage=storage))
            gateways[-1].title = f"ThingsBoard gateway, storage: {storage}"
        if is_installed():
            gateways.append(NodeRed("node-red", tmp_path, port, park.add(), FEW_TAGS))
        outcomes = endure(mosquitto, gateways, FEW_TAGS, Schedule())
    finally:
        park.stop()
    table = describe(outcomes, FEW_TAGS)
    print(f"\n{table}\nload average {os.getloadavg()[0]:.1f}")
    page.keep("custody", table)
    ours = outcomes[0]
    assert ours.lost_to_broker == 0
