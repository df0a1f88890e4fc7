"""The ledger's page and API: where every value is, what was never acquired, and what the store lacks."""

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.console.shapes import PartHealth
from cloud.gateways import Gateways
from cloud.ingest.day_counts import DAY_NS, DayCount, list_days, note_check, record_days
from cloud.ingest.dead_letters import DeadLetter, DeadLetters
from cloud.ingest.gaps import record_gaps
from cloud.ingest.inbox import Delivery
from cloud.ingest.ledger import EpochChange, Ledger
from cloud.ingest.letter_drops import record_drops
from cloud.ingest.read_back import say_day
from cloud.ingest.sorting import Accepted
from cloud.metrics import CloudMetrics
from cloud.service import Supervisor
from cloud.transactions import begin_write
from models.link import LinkMessage
from models.telemetry import Batch, DroppedRange, Gap, Status
from tests.integration.console_plants import serve_plant
from tests.integration.console_rig import HTML, MOTOR, PUMP, SCRIPT_TAG, PlantRig, get

SECOND = 1_000_000_000
TODAY = time.time_ns() // DAY_NS
KEY = ("pi-01", "9f2c")


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlantRig]:
    """Two gateways: one with all that can go wrong, one that is well; and a store that lacks values."""
    with serve_plant(tmp_path_factory.mktemp("plant")) as served:
        fill(served)
        yield served


def fill(rig: PlantRig) -> None:
    """Write down what a bad week leaves behind."""
    now_ns = time.time_ns()
    status = Status(
        v=1,
        gateway="pi-01",
        state="online",
        timestamp=now_ns,
        epoch="9f2c",
        sequence_last=100,
        values_total=10_000,
        waiting=[(96, 100)],
        waiting_values=500,
        dropped=[DroppedRange(11, 20, 1_000, "the outbox was full")],
    )
    stored = [(at, 100) for at in range(1, 96) if not 11 <= at <= 20 and at not in (30, 31, 40, 50)]
    change = EpochChange(stored=stored, dead_lettered=[(50, 100)], duplicates=7, status=status)
    gaps = [
        Gap(10 * SECOND, 15 * SECOND, "connection_lost", values=40, filled=3),
        Gap(20 * SECOND, 3_620 * SECOND, "gateway_down"),
    ]
    batch = Batch("pi-01", "9f2c", 1, [], gaps)
    accepted = Accepted(Delivery(LinkMessage("t", b"", 0, 1), 0, 0.0), KEY, 1, PUMP, batch, 0)
    ledger = Ledger(rig.engine)
    with ledger.begin() as connection:
        ledger.record(connection, {KEY: change, ("pi-02", "77aa"): EpochChange(stored=[(1, 10)])})
        Gateways(rig.engine).put(connection, {"pi-01": status}, now_ns)
        DeadLetters(rig.engine).put(
            connection, [DeadLetter("t", b"{", f"unknown schema 9 {SCRIPT_TAG}", now_ns, "pi-01")]
        )
        record_gaps(connection, [accepted])
        record_drops(connection, {"pi-01": 1_234, None: 2}, now_ns)


def note_read_back(rig: PlantRig, missing: int) -> None:
    """Let the store have been asked for two machines' days, and lack values of the pump's."""
    with begin_write(rig.engine) as connection:
        counts = {(PUMP, TODAY): DayCount(certain=1_000), (MOTOR, TODAY): DayCount(certain=50)}
        if not list_days(rig.engine):
            record_days(connection, counts, 1)
    for row in list_days(rig.engine):
        lacks = missing if row.machine == str(PUMP) else 0
        note_check(rig.engine, row, row.certain - lacks, time.time_ns())


def test_every_value_is_in_one_place(rig: PlantRig) -> None:
    """Produced is the sum of all places, per outbox; what is missing comes first, with its batches."""
    worse, other = get(rig, "/api/v1/ledger").json()["outboxes"]
    assert (worse["gateway"], worse["verdict"], worse["produced"]) == ("pi-01", "missing", 10_000)
    assert {share["word"]: (share["values"], share["batches"]) for share in worse["shares"]} == {
        "In the store": (8_100, 81),
        "Waiting at the gateway": (500, 5),
        "In the dead letters": (100, 1),
        "Given up by the gateway": (1_000, 10),
        "Missing": (300, 3),
    }
    assert worse["missing"] == [{"first": 30, "last": 31}, {"first": 40, "last": 40}]
    assert worse["drops"] == [{"first": 11, "last": 20, "values": 1_000, "reason": "the outbox was full"}]
    assert worse["duplicates"] == 7
    assert [(gap["reason"], gap["seconds"]) for gap in worse["gaps"]] == [
        ("gateway_down", 3_600.0),
        ("connection_lost", 5.0),
    ]
    assert (other["gateway"], other["verdict"], other["missing"]) == ("pi-02", "unreported", [])


def test_a_person_reads_it_in_sentences(rig: PlantRig) -> None:
    """What is missing, who gave up what and why, gaps by reason, dead letters with the command to replay."""
    page = get(rig, "/ledger", **HTML)
    assert page.status_code == 200
    assert SCRIPT_TAG not in page.text
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.text.replace("\u202f", "")))
    for words in (
        "Missing: batches 30 to 31, 40. The gateway let go of them",
        "Given up by pi-01: batches 11 to 20 with 1000 values: the outbox was full",
        "7 batches came more than once and are stored once",
        "The gateway did not run 1 1 h",
        "Connection lost 1 5 s 40 3",
        "Not proven: no status from the gateway yet",
        "unknown schema 9",
        "forewarn cloud dead-letters replay --all",
        "Dead letters that went for want of room Cannot be replayed pi-01: 1234 letters, the last",
    ):
        assert words in text, words


def test_the_read_back_is_shown(rig: PlantRig) -> None:
    """Before it was asked, with all there, and with values missing: by machine and day."""
    note_read_back(rig, missing=0)
    assert get(rig, "/api/v1/ledger").json()["read_back"]["missing"] == 0
    note_read_back(rig, missing=120)
    found = get(rig, "/api/v1/ledger").json()["read_back"]
    assert (found["days_asked"], found["stored"], found["found"], found["missing"]) == (2, 1_050, 930, 120)
    assert found["short"] == [
        {"machine": str(PUMP), "day": say_day(TODAY), "stored": 1_000, "found": 880, "missing": 120}
    ]
    assert "120 values are missing in the store" in get(rig, "/ledger", **HTML).text


def test_an_empty_plant_says_what_to_do(tmp_path: Path) -> None:
    """Neither gateways nor a read-back: both say how they come."""
    with serve_plant(tmp_path) as rig:
        text = get(rig, "/ledger", **HTML).text
    assert "No gateway has sent anything yet" in text
    assert "forewarn cloud verify --read-back" in text


def test_values_missing_in_the_store_are_an_alarm_but_no_reason_to_restart(rig: PlantRig) -> None:
    """/healthz stays 200 and says degraded; every page has the banner; the part says what is missing."""
    metrics = CloudMetrics()
    supervisor = Supervisor(asyncio.Event(), metrics)

    async def ingest(_stop: asyncio.Event) -> None:
        """Never run here."""

    supervisor.add("ingest", ingest)
    metrics.broker_trouble = ""
    assert not any(part.degraded for part in supervisor.list_parts())
    metrics.read_back_trouble = "the store lacks at least 120 values"
    rig.parts = supervisor.list_parts()
    health = get(rig, "/healthz")
    assert (health.status_code, health.json()["ok"], health.json()["degraded"]) == (200, True, True)
    part = next(one for one in health.json()["parts"] if one["degraded"])
    assert part == {
        "part": "read-back",
        "ok": True,
        "state": "the store lacks at least 120 values",
        "degraded": True,
    }
    end = time.monotonic() + 10
    while "read-back: the store lacks at least 120 values" not in get(rig, "/ledger", **HTML).text:
        assert time.monotonic() < end, "the banner does not come"
        time.sleep(0.05)
    rig.parts = [PartHealth(part="ingester", ok=True, state="connected")]
