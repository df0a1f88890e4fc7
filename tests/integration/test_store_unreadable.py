"""A store that takes values and answers no question: the ingester stores all the same."""

from pathlib import Path

from cloud.gateways import Gateways
from cloud.ingest.dead_letters import DeadLetters
from cloud.ingest.ingester import Ingester
from cloud.ingest.intake import IngestSettings, Intake
from cloud.ingest.ledger import Ledger
from cloud.ingest.sorting import Accepted
from cloud.metrics import CloudMetrics
from cloud.records import open_records
from cloud.stores import StoredMachine, StoreUnavailable
from models.link import BrokerSettings
from models.telemetry import Topics
from tests.integration.ingest_rig import MemoryStore
from tests.unit.test_store_series_guard import accept


def test_a_store_that_cannot_say_what_it_has_bounds_nothing_and_stops_nothing(tmp_path: Path) -> None:
    """Without its answer all batches are let through; it is not asked again at once; then the bound holds."""
    asked = 0

    def list_known() -> list[StoredMachine]:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise StoreUnavailable("no InfluxQL here")
        return []

    engine, metrics = open_records(f"sqlite:///{tmp_path}/records.sqlite"), CloudMetrics()
    ingester = Ingester(
        intake=Intake(IngestSettings(), BrokerSettings(), "test", Topics(), metrics),
        writer=MemoryStore(),
        ledger=Ledger(engine),
        dead_letters=DeadLetters(engine),
        gateways=Gateways(engine),
        metrics=metrics,
        list_known=list_known,
        new_series_per_hour_max=1,
    )
    batches: list[Accepted] = [accept(1, "abc"), accept(2, "def")]
    assert ingester._admit(batches).accepted == batches
    assert ingester._admit(batches).accepted == batches
    assert asked == 1
    ingester._learn_due_s = 0.0
    assert len(ingester._admit(batches).excerpts) == 1
    assert asked == 2
