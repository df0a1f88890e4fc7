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
