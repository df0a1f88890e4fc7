"""Records of older versions are brought up to date, newer ones refused, those of this one not touched."""

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import inspect

from cloud import schema
from cloud.ingest.dead_letters import DeadLetter, DeadLetters
from cloud.records import metadata, open_records
from cloud.schema import VERSION, RecordsTooNew
from cloud.transactions import begin_write
from cloud.watch.history_book import has_unposted, list_digests
from cloud.watch.machine_states import MachineStates
from cloud.watch.observations import Observation
from models.telemetry import MachinePath

COLUMNS = Path(__file__).parents[1] / "golden" / "records-columns.json"

VERSION_1 = """
CREATE TABLE dead_letter (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    received_ns BIGINT NOT NULL,
    replayed_ns BIGINT,
    times INTEGER NOT NULL,
    digest VARCHAR(64) NOT NULL UNIQUE,
    gateway VARCHAR(64),
    payload_bytes BIGINT NOT NULL,
    topic TEXT NOT NULL,
    reason TEXT NOT NULL,
    payload BLOB NOT NULL
);
CREATE INDEX dead_letter_size ON dead_letter (payload_bytes);
CREATE TABLE gateway (
    gateway VARCHAR(64) PRIMARY KEY NOT NULL, received_ns BIGINT NOT NULL, status BLOB NOT NULL
);
INSERT INTO dead_letter VALUES (7, 1, NULL, 3, 'd1', 'pi-01', 1, 'topic', 'bad', x'7b');
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the records are."""
    return tmp_path / "records.sqlite"


def read_version(file: Path) -> list[tuple[int]]:
    """Return all that the file says of its version."""
    with sqlite3.connect(file) as connection:
        return connection.execute("SELECT version FROM schema_version").fetchall()


def list_columns(file: Path) -> dict[str, list[str]]:
    """Return the columns of every table, by name."""
    with sqlite3.connect(file) as connection:
        tables = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        return {
            table: sorted(row[1] for row in connection.execute(f"PRAGMA table_info({table})"))
            for table in tables
        }


def test_new_records_are_of_this_version(file: Path) -> None:
    """They say so, once."""
    open_records(f"sqlite:///{file}").dispose()
    open_records(f"sqlite:///{file}").dispose()
    assert read_version(file) == [(VERSION,)]


def test_records_from_before_versions_were_kept_are_brought_up(file: Path) -> None:
    """What they hold stays, every table then has the columns of a new file, and new letters are kept."""
    with sqlite3.connect(file) as connection:
        connection.executescript(VERSION_1)
    engine = open_records(f"sqlite:///{file}")
    box = DeadLetters(engine)
    kept = box.get(7)
    assert (kept.times, kept.gateway, kept.payload, kept.excerpt) == (3, "pi-01", b"{", 1)
    with begin_write(engine) as connection:
        box.put(connection, [DeadLetter("t", b"x", "bad", 2, "pi-01")])
    assert [letter.excerpt for letter in box.list_newest()] == [0, 1]
    engine.dispose()
    new = file.with_name("new.sqlite")
    open_records(f"sqlite:///{new}").dispose()
    assert list_columns(file) == list_columns(new)
    assert read_version(file) == [(VERSION,)]


VERSION_2 = """
CREATE TABLE history_digest (
    id INTEGER PRIMARY KEY NOT NULL, told_ns BIGINT NOT NULL, rows BIGINT NOT NULL, strange TEXT NOT NULL
);
INSERT INTO history_digest VALUES (3, 5, 60,
    '[{"machine":"a/b/c/d","first_ns":1,"last_ns":2,"rows_above":9,"peak":2.5,"tags":["flow"]}]');
CREATE TABLE machine_state (
    machine VARCHAR(260) PRIMARY KEY NOT NULL, state VARCHAR(16) NOT NULL, score FLOAT, "limit" FLOAT,
    coverage FLOAT NOT NULL, timestamp_ns BIGINT NOT NULL, since_ns BIGINT NOT NULL, reason TEXT NOT NULL,
    faulty TEXT NOT NULL
);
INSERT INTO machine_state VALUES ('a/b/c/d', 'judged', 0.4, 1.0, 1.0, 7000000000, 1, '', '{}');
CREATE TABLE schema_version (version INTEGER NOT NULL);
INSERT INTO schema_version VALUES (2);
"""


def test_digests_and_states_of_version_2_are_kept(file: Path) -> None:
    """What was found before is there, and nobody is told of it late; watched time counts from now on."""
    with sqlite3.connect(file) as connection:
        connection.executescript(VERSION_2)
    engine = open_records(f"sqlite:///{file}")
    (digest,) = list_digests(engine)
    assert (digest.id, digest.strange[0].peak, digest.strange[0].episodes, digest.judged) == (3, 2.5, 1, [])
    assert not has_unposted(engine)
    machine = MachinePath("a", "b", "c", "d")
    states = MachineStates(engine)
    assert states.list()[0].judged_from_ns is None
    for second in (8, 9, 1000, 1001):
        states.put([Observation(machine, second * 1_000_000_000, "judged", 0.4, 1.0)])
    (state,) = states.list()
    assert (state.judged_from_ns, state.judged_s) == (8_000_000_000, 2.0)  # nobody watched in between
    engine.dispose()


def test_records_of_a_newer_version_are_refused_and_not_touched(file: Path) -> None:
    """The message says both versions and the mend."""
    open_records(f"sqlite:///{file}").dispose()
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE schema_version SET version = ?", (VERSION + 1,))
        connection.execute("DROP TABLE gap")
    with pytest.raises(
        RecordsTooNew, match=rf"of version {VERSION + 1}, this Forewarn knows {VERSION}: a newer"
    ):
        open_records(f"sqlite:///{file}")
    assert "gap" not in list_columns(file)
    assert read_version(file) == [(VERSION + 1,)]


def test_a_step_that_fails_changes_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All steps are one transaction: the next start finds the old file, and tries again."""
    with sqlite3.connect(file) as connection:
        connection.executescript(VERSION_1)
    before = list_columns(file)
    broken = [*schema.UPGRADES[2], schema.Step("gateway", "ALTER TABLE gateway ADD COLUMN oops NONSENSE(")]
    monkeypatch.setitem(schema.UPGRADES, 2, broken)
    with pytest.raises(Exception, match=r"syntax error|incomplete input"):
        open_records(f"sqlite:///{file}")
    assert list_columns(file) == before
    monkeypatch.undo()
    open_records(f"sqlite:///{file}").dispose()
    assert read_version(file) == [(VERSION,)]


def test_programs_that_open_old_records_at_once_bring_them_up_once(file: Path) -> None:
    """The second one waits for the first, and finds nothing left to do."""
    with sqlite3.connect(file) as connection:
        connection.executescript(VERSION_1)
    with ThreadPoolExecutor(4) as pool:
        for engine in pool.map(open_records, [f"sqlite:///{file}"] * 4):
            engine.dispose()
    assert read_version(file) == [(VERSION,)]


def test_up_to_date_records_are_opened_while_another_program_writes(file: Path) -> None:
    """A command only looks: it need not wait for the write of a running cloud."""
    open_records(f"sqlite:///{file}").dispose()
    with sqlite3.connect(file, isolation_level=None) as connection:
        connection.execute("BEGIN IMMEDIATE")
        open_records(f"sqlite:///{file}").dispose()
        connection.execute("ROLLBACK")


def test_a_table_does_not_change_without_a_step(file: Path) -> None:
    """Who adds a column adds a step to `UPGRADES`, with a test, and writes the columns down anew."""
    engine = open_records(f"sqlite:///{file}")
    kept = json.loads(COLUMNS.read_text())
    found = {
        table: sorted(column["name"] for column in inspect(engine).get_columns(table))
        for table in sorted(metadata.tables)
    }
    assert kept["version"] == VERSION
    assert {table: found[table] for table in kept["tables"]} == kept["tables"]
