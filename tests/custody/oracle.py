"""Machines that count what they hand out, over real Modbus and OPC UA; a program that no fault touches.

Every number it hands out goes into `issued.log`; what the gateways say that they committed comes through the
pipe `accepted.pipe` into `accepted.log`. Numbers never come from a gateway.
"""

import asyncio
import json
import os
import signal
import struct
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from asyncua import Server, ua

from edge.simulator.modbus_server import ModbusServer
from tests.custody.truth import make_path, value_of

REPEAT_S = 3.0
"""A request with the transaction number of the last one is a repeat for so long."""
NS_PER_S = 1_000_000_000
NAMESPACE = "urn:forewarn:custody"


class CountingRegisters:
    """number and reading as float64 at 0 and 4: every request gets the machine's next number."""

    def __init__(self, machine: str, log: TextIO) -> None:
        self._machine = machine
        self._log = log
        self._number = 0
        self._words: Sequence[int] = (0,) * 8
        self._asked: tuple[int, float] = (-1, 0.0)

    @property
    def count(self) -> int:
        """Two numbers of four registers."""
        return 8

    def read(self, address: int, transaction: int) -> Sequence[int]:  # all registers are sent
        """Return the next number and its reading, or the same again to a request that is sent again."""
        now_s = time.monotonic()
        if transaction != self._asked[0] or now_s - self._asked[1] > REPEAT_S:
            self._number += 1
            reading = value_of(self._machine, self._number)
            self._words = struct.unpack(">8H", struct.pack(">2d", float(self._number), reading))
            self._log.write(f"{self._machine} {self._number} {time.time_ns()}\n")
        self._asked = (transaction, now_s)
        return self._words


class CountingNodes:
    """The same over OPC UA: a new number every `interval_s`, both nodes with one source timestamp."""

    def __init__(self, machines: Sequence[str], log: TextIO, interval_s: float) -> None:
        self._machines = machines
        self._log = log
        self._interval_s = interval_s
        self._server = Server()

    async def start(self, port: int) -> int:
        """Serve; return the port."""
        await self._server.init()
        self._server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/")
        self._server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        index = await self._server.register_namespace(NAMESPACE)
        objects = self._server.nodes.objects
        self._nodes = [
            [
                await objects.add_variable(ua.NodeId(f"{machine}.{tag}", index), f"{machine}.{tag}", 0.0)
                for tag in ("number", "reading")
            ]
            for machine in self._machines
        ]
        await self._server.start()
        return port

    async def count(self) -> None:
        """Hand out numbers for ever, on an absolute schedule."""
        loop = asyncio.get_running_loop()
        began, number = loop.time(), 0
        while True:
            number += 1
            await asyncio.sleep(max(0.0, began + number * self._interval_s - loop.time()))
            for machine, nodes in zip(self._machines, self._nodes, strict=True):
                # OPC UA knows 100 ns, datetime microseconds: the log says what the wire can carry.
                at_ns = time.time_ns() // 1000 * 1000
                self._log.write(f"{machine} {number} {at_ns}\n")
                stamp = datetime.fromtimestamp(at_ns // NS_PER_S, UTC).replace(
                    microsecond=at_ns % NS_PER_S // 1000
                )
                for node, value in zip(nodes, (float(number), value_of(machine, number)), strict=True):
                    await self._server.write_attribute_value(
                        node.nodeid,
                        ua.DataValue(ua.Variant(value), SourceTimestamp=stamp, ServerTimestamp=stamp),
                    )


def copy_pipe(pipe: Path, log: Path) -> None:
    """Copy what gateways say into a file, for ever; opened for writing too, so that it never ends."""
    source = os.open(pipe, os.O_RDWR)
    with log.open("ab", buffering=0) as out:
        while piece := os.read(source, 65_536):
            out.write(piece)


async def serve(
    folder: Path, gateways: int, modbus: int, opcua: int, interval_s: float, opcua_port: int
) -> None:
    """Serve the machines of all gateways until told to end; print where they are."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    with (folder / "issued.log").open("a", buffering=1) as log:
        servers = {}
        for gateway in range(1, gateways + 1):
            units = {
                index + 1: CountingRegisters(str(make_path(gateway, "modbus", index)), log)
                for index in range(modbus)
            }
            server = ModbusServer(0, units)
            await server.start()
            servers[gateway] = server
        paths = [str(make_path(gateway, "opcua", index)) for gateway in servers for index in range(opcua)]
        nodes = CountingNodes(paths, log, interval_s)
        await nodes.start(opcua_port)
        counting = asyncio.create_task(nodes.count())
        print(json.dumps({"modbus": {key: one.port for key, one in servers.items()}}), flush=True)
        await asyncio.wait({counting, asyncio.create_task(stop.wait())}, return_when=asyncio.FIRST_COMPLETED)
        if counting.done():
            counting.result()


def main() -> None:
    """`FOLDER JSON`: see `serve`."""
    folder, wanted = Path(sys.argv[1]), json.loads(sys.argv[2])
    os.mkfifo(folder / "accepted.pipe")
    threading.Thread(
        target=copy_pipe, args=(folder / "accepted.pipe", folder / "accepted.log"), daemon=True
    ).start()
    asyncio.run(serve(folder, **wanted))


if __name__ == "__main__":
    main()
