"""The whole chain for the custody tests: machines, gateways, broker, ingesters, store, all killable."""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from cloud.ingest.gaps import list_gaps
from cloud.ingest.ledger import list_accounts
from cloud.records import open_records
from cloud.settings import CloudSettings
from cloud.stores import StoreReader
from models.settings import load_settings
from models.telemetry import Gap, MachinePath
from tests.custody.process import Process
from tests.custody.reconcile import Row
from tests.custody.site import PAGES, Custody, Machines, Site, ask_file
from tests.custody.truth import Issue, make_path, read_issues
from tests.custody.ways import open_way
from tests.integration.influx_front import InfluxServer
from tests.servers import Mosquitto, wait_until

StoreKind = Literal["embedded", "influxdb"]
QUEUE_MAX = 100
BUCKET = "custody"


class Plant:
    """Everything, in `folder`: a site, the way to the cloud, and the cloud."""

    def __init__(
        self,
        folder: Path,
        *,
        store: StoreKind = "embedded",
        custody: Custody = "receipts",
        machines: Machines | None = None,
    ) -> None:
        self.folder = folder
        self.store_kind = store
        self.ingesters: list[Process] = []
        self.influx: InfluxServer | None = None
        self._custody = custody
        self._wanted = machines or Machines()
        self._exit = ExitStack()

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
        self.way = open_way()
        self._exit.callback(self.way.stop)
        self.broker = Mosquitto(self.folder, f"max_queued_messages {QUEUE_MAX}", *self.way.broker_lines)
        self.broker.start()
        self._exit.callback(self.broker.kill)
        self.way.start(self.broker.port)
        self._start_cloud()
        self.site = self._make_site()
        self._exit.callback(self.site.stop)
        self.site.start()
        wait_until(lambda: not self.list_silent(time.time_ns() - 60 * 10**9), "all machines are stored", 60)

    def _make_site(self) -> Site:
        return Site(self.folder, self.way, self._wanted, self._custody)

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

    @property
    def slack_s(self) -> float:
        """A gap reaches from the last to the next value; what is handed out there may be off by a poll."""
        return 2 * self._wanted.interval_s

    # -- what the judge needs --------------------------------------------------------------------------

    @property
    def machines(self) -> list[MachinePath]:
        """Every machine of every gateway."""
        kinds = (("modbus", self._wanted.modbus), ("opcua", self._wanted.opcua))
        return [
            make_path(gateway, kind, index)
            for gateway in self.site.gateways_ours
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
        """Return what a gateway, an ingester or a fault has said so far; nothing for no program."""
        log = self.folder / f"{program}.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def note(self, program: str, event: str) -> None:
        """Say for a part that has no log what was seen of it."""
        with (self.folder / f"{program}.log").open("a") as log:
            log.write(f"{event}\n")

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
            for sequence, epoch in self.site.query(
                number, "SELECT sequence, epoch FROM batches, identity WHERE sequence <= ?", last
            ):
                count += sequence not in stored.get((f"gateway-{number}", epoch), ())
        return count

    def weigh_store(self) -> int:
        """Return the bytes that the store's files take on the disk now; of SQLite's those in use."""
        if self.store_kind == "embedded":
            return int(ask_file(self.folder / "store.sqlite", PAGES)[0][0])
        places = (f"influxd-*/data/{BUCKET}/**/*", f"influxd-*/wal/{BUCKET}/**/*")
        files = [file for place in places for file in self.folder.glob(place) if file.is_file()]
        return sum(file.stat().st_blocks * 512 for file in files)


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
