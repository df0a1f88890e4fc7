"""The read-back: what the store lacks of what we said it had is found, alarmed and shown."""

import json
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import structlog
from sqlalchemy import Engine

from cloud.ingest import upkeep
from cloud.ingest.day_counts import DAY_NS, DayCounter, list_days, record_days
from cloud.ingest.read_back import describe, read_back, say_day, say_mismatches
from cloud.ingest.upkeep import Upkeep
from cloud.metrics import CloudMetrics
from cloud.records import open_records
from cloud.stores import Block
from cloud.stores.embedded import EmbeddedStoreSettings
from cloud.transactions import begin_write
from models.telemetry import Frame, MachinePath
from tests.servers import wait_until

PUMP = MachinePath("riverside", "hall-1", "water", "pump-7")
MOTOR = MachinePath("riverside", "hall-1", "water", "motor-3")
SECOND = 1_000_000_000
TODAY = time.time_ns() // DAY_NS
YESTERDAY = (TODAY - 1) * DAY_NS


@pytest.fixture
def store(tmp_path: Path) -> EmbeddedStoreSettings:
    """An embedded store."""
    return EmbeddedStoreSettings(kind="embedded", path=tmp_path / "store.sqlite")


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """The records."""
    return open_records(f"sqlite:///{tmp_path}/records.sqlite")


def stow(store: EmbeddedStoreSettings, engine: Engine, *blocks: Block, stored: bool = True) -> None:
    """Store the blocks (or only say so) and count them."""
    if stored:
        writer = store.build_writer()
        writer.write(blocks)
        writer.close()
    counter = DayCounter()
    counter.load(engine)
    with begin_write(engine) as connection:
        record_days(connection, counter.count(blocks), time.time_ns())


def make_block(machine: MachinePath, start_ns: int, rows: int = 100) -> Block:
    """Return a row a second of two tags."""
    times = [start_ns + row * SECOND for row in range(rows)]
    return Block("telemetry", machine, [Frame(times, {"a": [1.0] * rows, "b": [None, *[2.0] * (rows - 1)]})])


def test_a_store_that_has_everything_lacks_nothing(store: EmbeddedStoreSettings, engine: Engine) -> None:
    """Counts agree by machine and day, repeats or not; each day is asked once until it changes."""
    stow(store, engine, make_block(PUMP, YESTERDAY - 50 * SECOND), make_block(MOTOR, YESTERDAY))
    stow(store, engine, make_block(PUMP, YESTERDAY - 50 * SECOND))
    reader = store.build_reader()
    now_ns = (TODAY + 1) * DAY_NS
    rows = read_back(engine, reader, now_ns=now_ns, keeps_days=None)
    assert [(row.machine, row.found) for row in rows] == [
        (str(MOTOR), 199),
        (str(PUMP), 99),
        (str(PUMP), 100),
    ]
    assert say_mismatches(rows) == ""
    assert describe(list_days(engine))[-1].endswith("none lacks any")
    assert read_back(engine, reader, now_ns=now_ns, keeps_days=None) == []
    stow(store, engine, make_block(MOTOR, YESTERDAY + 200 * SECOND))
    assert [row.found for row in read_back(engine, reader, now_ns=now_ns, keeps_days=None)] == [398]
    reader.close()


def test_what_the_store_said_and_has_not_is_an_alarm(store: EmbeddedStoreSettings, engine: Engine) -> None:
    """A database that answers "stored" and stores nothing is found out by the next morning."""
    stow(store, engine, make_block(PUMP, YESTERDAY))
    stow(store, engine, make_block(MOTOR, YESTERDAY), stored=False)
    reader = store.build_reader()
    rows = read_back(engine, reader, now_ns=(TODAY + 1) * DAY_NS, keeps_days=None)
    assert sum(row.missing for row in rows) == 199
    assert (
        f"lacks at least 199 values of 1 machine-days that it said it had, most of {MOTOR}"
        in say_mismatches(rows)
    )
    assert "0 values in the store, 199 were stored: 199 MISSING" in describe(rows)[0]
    stow(store, engine, make_block(MOTOR, YESTERDAY))
    again = read_back(engine, reader, now_ns=(TODAY + 1) * DAY_NS, keeps_days=None)
    assert say_mismatches([row for row in again if row.machine == str(PUMP)]) == ""
    reader.close()


def test_days_that_retention_has_deleted_and_the_running_day_are_left_out(
    store: EmbeddedStoreSettings, engine: Engine
) -> None:
    """What is gone by design is no loss; before two in the morning (UTC) a day is not over."""
    stow(store, engine, make_block(PUMP, YESTERDAY - 40 * DAY_NS), stored=False)
    stow(store, engine, make_block(PUMP, YESTERDAY))
    reader = store.build_reader()
    one_oclock = YESTERDAY + DAY_NS + 3600 * SECOND
    assert read_back(engine, reader, now_ns=one_oclock, keeps_days=30) == []
    assert len(read_back(engine, reader, now_ns=one_oclock + 2 * 3600 * SECOND, keeps_days=30)) == 1
    reader.close()


def test_the_upkeep_reads_back_by_itself_and_shows_the_alarm(
    store: EmbeddedStoreSettings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service says it as an error, counts it for Prometheus and keeps it in sight."""
    monkeypatch.setattr(upkeep, "IDLE_PAUSE_S", 0.05)
    two_days_ago = YESTERDAY - DAY_NS
    stow(store, engine, make_block(PUMP, two_days_ago), stored=False)
    metrics, stop = CloudMetrics(), threading.Event()
    writer = store.build_writer()
    with structlog.testing.capture_logs() as said:
        thread = threading.Thread(target=Upkeep(writer, store, engine, metrics).run, args=(stop,))
        thread.start()
        wait_until(lambda: bool(metrics.read_back_trouble), "the read-back found what is missing")
        stop.set()
        thread.join(10)
    writer.close()
    assert [line["log_level"] for line in said if line["event"] == "read_back_mismatch"] == ["error"]
    assert "forewarn_read_back_missing_values 199.0" in metrics.render().decode()


def test_verify_of_a_new_installation_is_no_error(tmp_path: Path) -> None:
    """Before anything has come there is nothing to miss."""
    file = tmp_path / "cloud.yaml"
    file.write_text("records: {path: records.sqlite}\nstore: {kind: embedded, path: store.sqlite}\n")
    for more in ([], ["--read-back"]):
        command = [sys.executable, "-m", "forewarn", "cloud", "verify", "--config", str(file), *more]
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (said.returncode, said.stderr) == (0, "")
        assert said.stdout.endswith("no gateway has sent anything yet\n")


def test_verify_asks_now_and_fails_when_values_are_missing(
    store: EmbeddedStoreSettings, engine: Engine, tmp_path: Path
) -> None:
    """A user sees the day, both counts, and an exit code that a script can use; damage in the store shows."""
    file = tmp_path / "cloud.yaml"
    file.write_text(
        "broker: {port: 1}\nrecords: {path: records.sqlite}\nstore: {kind: embedded, path: store.sqlite}\n"
    )
    stow(store, engine, make_block(PUMP, TODAY * DAY_NS))

    def verify(*more: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "forewarn", "cloud", "verify", "--config", str(file), *more]
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert said.stderr == ""
        return said.returncode, said.stdout

    assert "read back: the store was not asked yet" in verify()[1]
    code, words = verify("--read-back")
    assert code == 0
    assert words.splitlines()[0] == "read back: 1 machine-days, 199 values found of 199: none lacks any"
    with sqlite3.connect(store.path) as connection:
        connection.execute("DELETE FROM chunk")
    stow(store, engine, make_block(PUMP, TODAY * DAY_NS + 300 * SECOND, rows=1))
    code, words = verify("--read-back")
    assert code == 1
    assert f"read back: {PUMP} on " in words
    assert "1 values in the store, 200 were stored: 199 MISSING" in words
    code, words = verify("--json")
    assert code == 1
    found = json.loads(words)["read_back"]
    assert found.pop("asked_ns") > TODAY * DAY_NS
    day = {"machine": str(PUMP), "day": say_day(TODAY), "stored": 200, "found": 1, "missing": 199}
    assert found == {
        "days_asked": 1,
        "days_changed": 0,
        "stored": 200,
        "found": 1,
        "days_short": 1,
        "missing": 199,
        "short": [day],
    }
