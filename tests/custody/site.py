"""The plant's own side of the custody tests: machines, gateways, the disk of one, the clock of another."""

import json
import os
import sqlite3
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Literal

import msgspec

from tests.custody.process import ROOT, Process
from tests.custody.truth import make_path
from tests.custody.way import Way
from tests.integration.disk_rig import mounted, run
from tests.servers import find_free_port, find_program, wait_until

Custody = Literal["receipts", "puback", "normal"]
GATEWAYS = (1, 2)
DISK_BYTES = 48_000_000
PAGES = (
    "SELECT (page_count - freelist_count) * page_size "
    "FROM pragma_page_count JOIN pragma_freelist_count JOIN pragma_page_size"
)
"""The bytes in use in an SQLite file."""


class Machines(msgspec.Struct, frozen=True):
    """How many machines of each kind every gateway has, and how often they are read."""

    modbus: int = 3
    opcua: int = 2
    interval_s: float = 0.1


class Site:
    """Everything on the plant's side of `way`. Gateway 1 has its outbox on a disk image, gateway 2 a clock
    that moves.
    """

    gateways_ours: Sequence[int] = GATEWAYS
    lines = len(GATEWAYS)
    """How many gateways have machines."""
    clocked: Sequence[int] = (2,)

    def __init__(
        self,
        folder: Path,
        way: Way,
        machines: Machines,
        custody: Custody = "receipts",
    ) -> None:
        self.folder = folder
        self.machines = machines
        self._way = way
        self._custody = custody
        self._opcua_port = find_free_port()
        self._exit = ExitStack()
        self.clock_offset = folder / "clock-offset"
        self.disk_image = folder / "disk-1.img"
        self.disk = folder / "disk-1"
        places = {1: self.disk / "outbox.sqlite", 2: folder / "outbox-2.sqlite"}
        self.outboxes = {number: places[number] for number in self.gateways_ours}
        self.gateways: dict[int, Process] = {}
        self.on_disk: list[Process] = []
        """The gateways that lose their power together with the disk."""

    def start(self) -> None:
        """Start all."""
        self._make_disk()
        self.modbus_ports = self._start_oracle()
        self.clock = self._make_clock()
        for number in self.gateways_ours:
            self._start_gateway(number)

    def stop(self) -> None:
        """End all, whatever state it is in."""
        self._exit.close()

    def add(self, number: int, gateway: Process, *, is_on_disk: bool) -> None:
        """Start a gateway and keep it as one of ours."""
        self.gateways[number] = gateway
        if is_on_disk:
            self.on_disk.append(gateway)
        gateway.start()
        self._exit.callback(gateway.stop)

    def _start_gateway(self, number: int) -> None:
        file = self.folder / f"edge-{number}.yaml"
        file.write_text(self._describe_edge(number))
        words = ["tests.custody.gateway", str(file), str(self.folder / "accepted.pipe"), self._custody]
        environment = self.clock if number in self.clocked else {}
        gateway = Process(f"gateway-{number}", self.folder, words, self._way.prefix, **environment)
        self.add(number, gateway, is_on_disk=number == 1)

    # -- the disk and the clock ------------------------------------------------------------------------

    def _make_disk(self) -> None:
        if os.geteuid() != 0:  # then no fault touches the disk either
            self.disk.mkdir()
            return
        self.disk_image.touch()
        os.truncate(self.disk_image, DISK_BYTES)
        run(find_program("mkfs.ext4"), "-qF", str(self.disk_image))
        self._mounts = self._exit.enter_context(ExitStack())
        self.mount()

    def mount(self) -> None:
        """Put gateway 1's disk in its place."""
        if self.disk.exists():
            self.disk.rmdir()
        self._mounts.enter_context(mounted(self.disk, "-o", "loop", str(self.disk_image)))

    def unmount(self) -> None:
        """Take gateway 1's disk away."""
        self._mounts.close()

    def _make_clock(self) -> dict[str, str]:
        """Return the environment of a program whose clock is off by what stands in `clock_offset`."""
        self.clock_offset.write_text("0")
        shim, source = self.folder / "clockshim.so", ROOT / "tests" / "integration" / "clockshim.c"
        run(find_program("gcc"), "-shared", "-fPIC", "-o", str(shim), str(source), "-ldl")
        return {"LD_PRELOAD": str(shim), "CLOCK_OFFSET_FILE": str(self.clock_offset)}

    # -- machines and settings -------------------------------------------------------------------------

    def _start_oracle(self) -> dict[int, int]:
        wanted = msgspec.to_builtins(self.machines)
        wanted |= {"gateways": self.lines, "opcua_port": self._opcua_port}
        words = ["tests.custody.oracle", str(self.folder), json.dumps(wanted)]
        oracle = Process("oracle", self.folder, words, self._way.prefix)
        oracle.start()
        self._exit.callback(oracle.stop)

        def find_ports() -> dict[str, int] | None:
            lines = [line for line in oracle.read_log().splitlines() if line.startswith('{"modbus"')]
            return json.loads(lines[0])["modbus"] if lines else None

        wait_until(lambda: find_ports() is not None, "the machines are there", 30)
        return {int(number): port for number, port in (find_ports() or {}).items()}

    def _describe_edge(self, number: int) -> str:
        machines = self.machines
        lines = [
            f"gateway: gateway-{number}",
            f"broker: {{host: {self._way.host}, port: {self._way.port}, keepalive_s: 5}}",
            f"outbox: {{path: '{self.outboxes[number]}', flush_s: 0.2}}",
            "health: {port: null}",
            "receipt_timeout_s: 5",
            "machines:",
        ]
        for index in range(machines.modbus):
            lines += [
                f"  - {{path: {make_path(number, 'modbus', index)}, kind: modbus, host: 127.0.0.1,",
                f"     port: {self.modbus_ports[number]}, unit_id: {index + 1},",
                f"     interval_s: {machines.interval_s},",
                "     tags: [{name: number, table: holding, address: 0, type: float64},",
                "            {name: reading, table: holding, address: 4, type: float64}]}",
            ]
        for index in range(machines.opcua):
            path = make_path(number, "opcua", index)
            tags = ", ".join(
                f'{{name: {tag}, node_id: "nsu=urn:forewarn:custody;s={path}.{tag}"}}'
                for tag in ("number", "reading")
            )
            lines += [
                f"  - {{path: {path}, kind: opcua, url: 'opc.tcp://127.0.0.1:{self._opcua_port}',",
                f"     allow_insecure: true, interval_s: {machines.interval_s}, tags: [{tags}]}}",
            ]
        return "\n".join(lines) + "\n"

    # -- what the outboxes say -------------------------------------------------------------------------

    def read_sequences(self) -> dict[int, int]:
        """Return the last sequence of each gateway."""
        return {
            number: sum(last for (last,) in self.query(number, "SELECT sequence_last FROM totals"))
            for number in self.outboxes
        }

    def weigh_outboxes(self) -> tuple[int, int]:
        """Return the bytes in use in all outboxes' files, and the values that wait in them."""
        values = "SELECT coalesce(sum(value_count), 0) FROM batches"
        found = [[self.query(number, query) for query in (PAGES, values)] for number in self.outboxes]
        whole = [(size[0][0], count[0][0]) for size, count in found if size and count]
        return sum(size for size, _ in whole), sum(count for _, count in whole)

    def query(self, gateway: int, query: str, *values: int) -> list[tuple[Any, ...]]:
        """Return what a gateway's outbox answers; nothing while it is away."""
        try:
            return ask_file(self.outboxes[gateway], query, *values)
        except sqlite3.Error:  # its disk is away just now, or it has none yet
            return []


def ask_file(path: Path, query: str, *values: int) -> list[tuple[Any, ...]]:
    """Return what an SQLite file answers that another program writes to; raise `sqlite3.Error`."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as beside:
        return beside.execute(query, values).fetchall()
