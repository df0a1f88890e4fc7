"""Builds the parts of the cloud service from its settings; a part that dies is built anew from here."""

import asyncio
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cloud.alerts.advice import load_adviser
from cloud.alerts.book import AlertBook
from cloud.alerts.failures import FailureBook
from cloud.alerts.foresight import Foresight
from cloud.alerts.foreteller import Foreteller
from cloud.gateways import Gateways
from cloud.ingest.ingester import Ingester
from cloud.ingest.intake import Intake
from cloud.ingest.ledger import Ledger
from cloud.ingest.upkeep import Upkeep
from cloud.machines import CardBox
from cloud.metrics import CloudMetrics
from cloud.notifiers.outbox import NotificationOutbox
from cloud.notifiers.shelf import list_addresses, list_digest_readers
from cloud.settings import CloudSettings
from cloud.stores import Block, StoreReader
from cloud.watch.machine_states import MachineStates
from models.telemetry import Topics

if TYPE_CHECKING:
    from cloud.console.server import ConsoleServer
    from cloud.console.sources import Parts
    from cloud.watch.watcher import Watcher


class Plant:
    """What the parts share: records, store, cards and the alert book; and each part when it is asked for."""

    def __init__(self, settings: CloudSettings, metrics: CloudMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._engine = settings.records.build()
        self._writer = settings.store.build_writer()
        self._reader = settings.store.build_reader()
        self._cards = CardBox(settings.machines)
        self._book = AlertBook(
            self._engine,
            settings.alerts,
            self._cards,
            adviser=load_adviser(settings.alerts.advice),
            addresses=list_addresses(settings.notifiers),
        )
        self._watcher: Watcher | None = None

    def close(self) -> None:
        """Let go of files and connections, once no part runs."""
        self._writer.close()
        self._reader.close()
        self._engine.dispose()

    def ingest(self, stop: threading.Event) -> None:
        """Run a new ingester."""
        settings = self._settings
        topics = Topics(settings.namespace)
        client_id = f"forewarn-cloud-{settings.name}"
        Ingester(
            intake=Intake(settings.ingest, settings.broker, client_id, topics, self._metrics),
            writer=self._writer,
            ledger=Ledger(self._engine),
            dead_letters=settings.dead_letters.build(self._engine),
            gateways=Gateways(self._engine),
            metrics=self._metrics,
            sinks=[self._feed_watcher],
            list_known=self._reader.list_machines,
            new_series_per_hour_max=settings.ingest.new_series_per_hour_max,
        ).run(stop)

    def keep_up(self, stop: threading.Event) -> None:
        """Run the store's upkeep."""
        Upkeep(self._writer, self._settings.store, self._engine, self._metrics).run(stop)

    def watch(self, stop: threading.Event) -> None:
        """Run a new watcher, with a reader of its own: a large question of the console must not delay it."""
        from cloud.watch.watcher import Watcher

        reader = self._settings.store.build_reader()
        try:
            self._watcher = Watcher(
                reader, self._writer, self._settings.bundles, self._book, self._engine, self._settings.watch
            )
            self._watcher.run(stop)
        finally:
            reader.close()

    def learn(self, stop: threading.Event) -> None:
        """Have machines without a model learn, once there is enough to learn from."""
        from cloud.watch.school import School

        settings = self._settings
        School(
            settings.store,
            settings.bundles,
            self._engine,
            settings.watch,
            cards=self._cards,
            show_drift=lambda machine, drift: self._metrics.show_drift(machine, drift.psi, drift.above_half),
            store_drift=self._writer.write,
        ).run(stop)

    def foretell(self, stop: threading.Event) -> None:
        """Keep what lies ahead of open alerts up to date."""
        reader = self._settings.store.build_reader()
        try:
            every_s = self._settings.alerts.forecast.every_s
            Foreteller(self._book, self._make_foresight(reader), every_s).run(stop)
        finally:
            reader.close()

    def _make_foresight(self, reader: StoreReader) -> Foresight:
        ratio = self._settings.alerts.forecast.failure_ratio
        return Foresight(reader, self._cards, FailureBook(self._engine), ratio)

    async def notify(self, stop: asyncio.Event) -> None:
        """Run a new post office."""
        from cloud.notifiers.digests import DigestDesk
        from cloud.notifiers.post import LetterDesk, Post

        named, public_url = self._settings.notifiers, find_public_url(self._settings)
        desk = LetterDesk(self._cards, self._reader, public_url, self._make_foresight(self._reader))
        digests = DigestDesk(self._engine, list_digest_readers(named), self._cards, public_url)
        notifiers = {one.name: one.build() for one in named}
        await Post(NotificationOutbox(self._engine), self._book, notifiers, desk, digests=digests).run(stop)

    def build_console(self, parts: "Parts") -> "ConsoleServer":
        """Return the console; it listens once it runs."""
        from cloud.console.accounts import GatewayAccounts
        from cloud.console.app import make_app
        from cloud.console.gaps import GapRecords
        from cloud.console.ledger import LedgerBook
        from cloud.console.model_records import ModelRecords
        from cloud.console.server import ConsoleServer
        from cloud.console.view import PlantView

        view = PlantView(
            reader=self._reader,
            alerts=self._book,
            notices=NotificationOutbox(self._engine),
            states=MachineStates(self._engine),
            cards=self._cards,
            gateways=GatewayAccounts(self._engine),
            gaps=GapRecords(self._engine),
            ledgers=LedgerBook(self._engine),
            models=ModelRecords(self._engine, self._settings.bundles, self._settings.watch.learning),
            parts=parts,
        )
        return ConsoleServer(make_app(view), self._settings.console.host, self._settings.console.port)

    def _feed_watcher(self, blocks: Sequence[Block]) -> None:
        if self._watcher is not None:
            self._watcher.feed(blocks)


def find_public_url(settings: CloudSettings) -> str:
    """Return the console's address in mails: what the settings say, else where it listens."""
    console = settings.console
    if "public_url" in console.model_fields_set:
        return str(console.public_url)
    return f"http://{console.host}:{console.port}"
