"""The whole chain for the custody tests: machines, gateways, broker, ingesters, store, all killable."""

import json
import os
import sqlite3
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Literal

from cloud.ingest.gaps import list_gaps
from cloud.ingest.ledger import list_accounts
from cloud.records import open_records
from cloud.settings import CloudSettings
from cloud.stores import StoreReader
from models.settings import load_settings
from models.telemetry import Gap, MachinePath
from tests.custody.process import ROOT, Process
from tests.custody.proxy import Proxy
from tests.custody.reconcile import Row
from tests.custody.truth import Issue, make_path, read_issues
from tests.integration.disk_rig import mounted, run
from tests.integration.influx_front import InfluxServer
from tests.servers import Mosquitto, find_free_port, find_program, wait_until

Custody = Literal["receipts", "puback", "normal"]
StoreKind = Literal["embedded", "influxdb"]
GATEWAYS = (1, 2)
DISK_BYTES = 48_000_000
QUEUE_MAX = 100
BUCKET = "custody"


class Plant:
    """Everything, in `folder`. Gateway 1 has its outbox on a disk image, gateway 2 a clock that moves."""

    def __init__(
        self,
        folder: Path,
        *,
        store: StoreKind = "embedded",
        custody: Custody = "receipts",
        modbus: int = 3,
        opcua: int = 2,
        interval_s: float = 0.1,
    ) -> None:
        self.folder = folder
        self.store_kind = store
        self.interval_s = interval_s
        self._custody = custody
        self._modbus, self._opcua = modbus, opcua
        self._opcua_port = find_free_port()
        self._exit = ExitStack()
        self.clock_offset = folder / "clock-offset"
        self.disk_image = folder / "disk-1.img"
        self.outboxes = {1: folder / "disk-1" / "outbox.sqlite", 2: folder / "outbox-2.sqlite"}
        self.gateways: dict[int, Process] = {}
        self.ingesters: list[Process] = []
        self.influx: InfluxServer | None = None

    def __enter__(self) -> "Plant":
        """Start all, and wait until values of every machine are stored."""
        with ExitStack() as exit_stack:
            self._exit = exit_stack
            self._start()
            self._exit = exit_stack.pop_all()
        return self

    def __exit__(self, *_what: object) -> None:
        """End all, whatever state it is in."""
        self._exit.close()

    def _start(self) -> None:
        self.broker = Mosquitto(self.folder, f"max_queued_messages {QUEUE_MAX}")
        self.broker.start()
        self._exit.callback(self.broker.kill)
        self.proxy = Proxy(self.broker.port)
        self.proxy.start()
        self._exit.callback(self.proxy.stop)
        self._make_disk()
        oracle_ports = self._start_oracle()
        self._start_cloud()
        shim = self._build_shim()
        self.clock_offset.write_text("0")
        for number in GATEWAYS:
            self._write_edge(number, oracle_ports[number])
            environment = {"LD_PRELOAD": str(shim), "CLOCK_OFFSET_FILE": str(self.clock_offset)}
            gateway = Process(
                f"gateway-{number}",
                self.folder,
                [
                    "tests.custody.gateway",
                    str(self.folder / f"edge-{number}.yaml"),
                    str(self.folder / "accepted.pipe"),
                    self._custody,
                ],
                **(environment if number == 2 else {}),
            )
            self.gateways[number] = gateway
            gateway.start()
            self._exit.callback(gateway.stop)
        wait_until(lambda: not self.list_silent(time.time_ns() - 60 * 10**9), "all machines are stored", 60)

    def _make_disk(self) -> None:
        if os.geteuid() != 0:  # then no fault touches the disk either
            self.outboxes[1].parent.mkdir()
            return
        self.disk_image.touch()
        os.truncate(self.disk_image, DISK_BYTES)
        run(find_program("mkfs.ext4"), "-qF", str(self.disk_image))
        self._disk = self._exit.enter_context(ExitStack())
        self.mount()

    def mount(self, image: Path | None = None) -> None:
        """Put gateway 1's disk in its place."""
        place = self.folder / "disk-1"
        if place.exists():
            place.rmdir()
        self._disk.enter_context(mounted(place, "-o", "loop", str(image or self.disk_image)))

    def unmount(self) -> None:
        """Take gateway 1's disk away."""
        self._disk.close()

    def _start_oracle(self) -> dict[int, int]:
        wanted = {
            "gateways": len(GATEWAYS),
            "modbus": self._modbus,
            "opcua": self._opcua,
            "interval_s": self.interval_s,
            "opcua_port": self._opcua_port,
        }
        oracle = Process(
            "oracle", self.folder, ["tests.custody.oracle", str(self.folder), json.dumps(wanted)]
        )
        oracle.start()
        self._exit.callback(oracle.stop)

        def find_ports() -> dict[str, int] | None:
            lines = [line for line in oracle.read_log().splitlines() if line.startswith('{"modbus"')]
            return json.loads(lines[0])["modbus"] if lines else None

        wait_until(lambda: find_ports() is not None, "the machines are there", 30)
        return {int(number): port for number, port in (find_ports() or {}).items()}

    def _build_shim(self) -> Path:
        shim, source = self.folder / "clockshim.so", ROOT / "tests" / "integration" / "clockshim.c"
        run(find_program("gcc"), "-shared", "-fPIC", "-o", str(shim), str(source), "-ldl")
        return shim

    def _start_cloud(self) -> None:
        if self.store_kind == "influxdb":
            self.influx = InfluxServer(self.folder)
            self._exit.callback(self.influx.close)
            chosen = self.influx.make_settings(BUCKET)
            store = (
                f"{{kind: influxdb, url: '{chosen.url}', org: plant, bucket: {BUCKET}, "
                f"token: {{file: token-secret}}, timeout_s: 5}}"
            )
        else:
            store = "{kind: embedded, path: store.sqlite}"
        for name in ("cloud-a", "cloud-b"):
            file = self.folder / f"{name}.yaml"
            file.write_text(
                f"name: {name}\nbroker: {{host: 127.0.0.1, port: {self.broker.port}}}\nroles: [ingest]\n"
                f"records: {{path: records.sqlite}}\nstore: {store}\n"
            )
            ingester = Process(name, self.folder, ["forewarn", "cloud", "run", "--config", str(file)])
            self.ingesters.append(ingester)
            self._exit.callback(ingester.stop)
        self.ingesters[0].start()
        self._records = open_records(f"sqlite:///{self.folder / 'records.sqlite'}")
        self._exit.callback(self._records.dispose)

    def _write_edge(self, number: int, modbus_port: int) -> None:
        lines = [
            f"gateway: gateway-{number}",
            f"broker: {{host: 127.0.0.1, port: {self.proxy.port}, keepalive_s: 5}}",
            f"outbox: {{path: '{self.outboxes[number]}', flush_s: 0.2}}",
            "health: {port: null}",
            "receipt_timeout_s: 5",
            "machines:",
        ]
        for index in range(self._modbus):
            lines += [
                f"  - {{path: {make_path(number, 'modbus', index)}, kind: modbus, host: 127.0.0.1,",
                f"     port: {modbus_port}, unit_id: {index + 1}, interval_s: {self.interval_s},",
                "     tags: [{name: number, table: holding, address: 0, type: float64},",
                "            {name: reading, table: holding, address: 4, type: float64}]}",
            ]
        for index in range(self._opcua):
            path = make_path(number, "opcua", index)
            tags = ", ".join(
                f'{{name: {tag}, node_id: "nsu=urn:forewarn:custody;s={path}.{tag}"}}'
                for tag in ("number", "reading")
            )
            lines += [
                f"  - {{path: {path}, kind: opcua, url: 'opc.tcp://127.0.0.1:{self._opcua_port}',",
                f"     allow_insecure: true, interval_s: {self.interval_s}, tags: [{tags}]}}",
            ]
        (self.folder / f"edge-{number}.yaml").write_text("\n".join(lines) + "\n")

    @property
    def slack_s(self) -> float:
        """A gap reaches from the last to the next value; what is handed out there may be off by a poll."""
        return 2 * self.interval_s

    # -- what the judge needs --------------------------------------------------------------------------

    @property
    def machines(self) -> list[MachinePath]:
        """Every machine of every gateway."""
        kinds = (("modbus", self._modbus), ("opcua", self._opcua))
        return [
            make_path(gateway, kind, index)
            for gateway in GATEWAYS
            for kind, count in kinds
            for index in range(count)
        ]

    def read_issued(self) -> list[Issue]:
        """Return what the machines handed out so far."""
        return read_issues((self.folder / "issued.log").read_text())

    def read_accepted(self) -> list[tuple[str, int]]:
        """Return what the gateways said that they committed."""
        text = (self.folder / "accepted.log").read_text()
        lines = text[: text.rfind("\n") + 1].splitlines()
        return [(machine, int(number)) for machine, number in (line.split(" ") for line in lines)]

    def read_stored(self, start_ns: int = 0) -> list[Row]:
        """Return what the store holds from `start_ns` on."""
        reader = self.open_reader()
        try:
            return [row for machine in self.machines for row in _read_rows(reader, machine, start_ns)]
        finally:
            reader.close()

    def read_log(self, program: str) -> str:
        """Return what a gateway or an ingester has said so far; nothing for no program."""
        log = self.folder / f"{program}.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def read_gaps(self) -> list[tuple[str, Gap]]:
        """Return every gap that the cloud has recorded."""
        return [(one.machine, one.gap) for one in list_gaps(self._records)]

    def open_reader(self) -> StoreReader:
        """Return a reader of the store."""
        return load_settings(self.folder / "cloud-a.yaml", CloudSettings).store.build_reader()

    def list_silent(self, since_ns: int) -> set[str]:
        """Return the machines of which nothing after `since_ns` is stored."""
        return {str(machine) for machine in self.machines} - {
            row.machine for row in self.read_stored(since_ns)
        }

    def count_unstored(self, up_to: dict[int, int]) -> int:
        """Return how many batches with a sequence of at most `up_to[gateway]` the cloud does not have yet."""
        stored = {(one.gateway, one.epoch): one.stored for one in list_accounts(self._records)}
        count = 0
        for number, last in up_to.items():
            for sequence, epoch in self._query(
                number, "SELECT sequence, epoch FROM batches, identity WHERE sequence <= ?", last
            ):
                count += sequence not in stored.get((f"gateway-{number}", epoch), ())
        return count

    def read_sequences(self) -> dict[int, int]:
        """Return the last sequence of each gateway."""
        return {
            number: sum(last for (last,) in self._query(number, "SELECT sequence_last FROM totals"))
            for number in self.outboxes
        }

    def _query(self, gateway: int, query: str, *values: int) -> list[tuple[Any, ...]]:
        try:
            address = f"{self.outboxes[gateway].as_uri()}?mode=ro"
            with closing(sqlite3.connect(address, uri=True)) as beside:
                return beside.execute(query, values).fetchall()
        except sqlite3.Error:  # its disk is away just now, or it has none yet
            return []


def _read_rows(reader: StoreReader, machine: MachinePath, start_ns: int) -> list[Row]:
    table = reader.read("telemetry", machine, start_ns, 2**63 - 1)
    columns = [
        table.values[tag].tolist() if tag in table.values else [float("nan")] * len(table.timestamps)
        for tag in ("number", "reading")
    ]
    return [
        Row(str(machine), at_ns, *(None if value != value else value for value in pair))
        for at_ns, *pair in zip(table.timestamps.tolist(), *columns, strict=True)
    ]
