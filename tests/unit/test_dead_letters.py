"""Dead letters: a flood of one gateway drowns its own, and the commands show, replay and export them."""

import base64
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cloud.ingest.dead_letters import DeadLetter, DeadLetters
from cloud.ingest.ledger import EpochChange, Ledger, list_accounts
from cloud.ingest.letter_drops import list_drops
from cloud.records import open_records
from cloud.stores.chunk_reader import EmbeddedReader
from cloud.transactions import begin_write
from forewarn.commands.cloud import app
from models.telemetry import Batch, Frame, MachinePath, Topics, encode_batch

PUMP = MachinePath("riverside", "hall-1", "water", "pump-7")
START = 1_795_337_912_000_000_000


def put(folder: Path, *letters: DeadLetter, **limits: int) -> tuple[DeadLetters, int]:
    """Return dead letters with `letters` put, and how many old ones went for them."""
    engine = open_records(f"sqlite:///{folder}/records.sqlite")
    box = DeadLetters(engine, **limits)
    with begin_write(engine) as connection:
        return box, box.put(connection, letters)


def make_letter(at: int, gateway: str, payload: bytes = b"") -> DeadLetter:
    """Return a letter that came at the instant `at`."""
    topic = Topics().batch(gateway, PUMP)
    return DeadLetter(topic, payload or b"%d" % at * 10, f"bad {at}", at, gateway)


def make_batch(sequence: int, gateway: str = "pi-01") -> bytes:
    """Return a good batch of two values."""
    frame = Frame([START + sequence, START + sequence + 1], {"current": [1.5, 2.5]})
    return encode_batch(Batch(gateway, "9f2c", sequence, [frame]))


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """A settings file with its store and records beside it."""
    file = tmp_path / "cloud.yaml"
    file.write_text(
        "broker: {port: 1}\nrecords: {path: records.sqlite}\nstore: {kind: embedded, path: store.sqlite}\n"
    )
    return file


def call(settings: Path, *arguments: str) -> Result:
    """Return what `forewarn cloud dead-letters ...` said."""
    return CliRunner().invoke(app, ["dead-letters", *arguments, "--config", str(settings)])


@pytest.mark.parametrize("limits", [{"rows_max": 12}, {"bytes_max": 240}])
def test_a_flood_takes_no_room_from_other_gateways(tmp_path: Path, limits: dict[str, int]) -> None:
    """The oldest of whoever has most go; the letters of a quiet gateway stay, old as they are."""
    put(tmp_path, *(make_letter(at, "pi-02") for at in range(10, 13)))
    for first in range(20, 90, 10):
        box, _ = put(tmp_path, *(make_letter(at, "pi-01") for at in range(first, first + 10)), **limits)
    kept = box.list_newest()
    assert [one.received_ns for one in kept if one.gateway == "pi-02"] == [12, 11, 10]
    assert [one.received_ns for one in kept if one.gateway == "pi-01"] == list(range(89, 80, -1))
    assert box.count() == box.count("pi-01").__class__(12, 0, 240)


def test_what_goes_for_want_of_room_is_counted_unless_it_was_replayed(tmp_path: Path, settings: Path) -> None:
    """Gateway by gateway, added up, also for letters of nobody; `verify` says it, `verify --json` too."""
    put(tmp_path, make_letter(1, "pi-01"), make_letter(2, "pi-01"))
    box, _ = put(tmp_path, DeadLetter("odd", b"x", "bad", 3))
    (replayed,) = (one.id for one in box.list_newest() if one.received_ns == 1)
    with begin_write(box._engine) as connection:
        box.mark_replayed(connection, replayed, 9)
    put(tmp_path, *(make_letter(at, "pi-01") for at in range(10, 13)), rows_max=4)
    put(tmp_path, make_letter(20, "pi-02"), rows_max=3)
    put(tmp_path, *(DeadLetter("odd", b"%d" % at, "bad", at) for at in range(30, 34)), rows_max=3)
    drops = {one.gateway: (one.letters, one.last_ns) for one in list_drops(box._engine)}
    assert drops == {None: (4, 33), "pi-01": (3, 20)}
    said = CliRunner().invoke(app, ["verify", "--config", str(settings)]).output
    assert "pi-01: 3 dead letters went for want of room and can never be replayed: raise" in said
    proof = CliRunner().invoke(app, ["verify", "--json", "--config", str(settings)]).output
    assert {one["gateway"]: one["letters"] for one in json.loads(proof)["dead_letters_dropped"]} == {
        gateway: letters for gateway, (letters, _) in drops.items()
    }


def test_letters_without_a_gateway_are_bounded_too(tmp_path: Path) -> None:
    """Messages on topics that name nobody share one room."""
    nobody = [DeadLetter("elsewhere", b"%d" % at, "no topic of ours", at) for at in range(10, 20)]
    box, dropped = put(tmp_path, *nobody, make_letter(1, "pi-01"), rows_max=4)
    assert dropped == 7
    assert [one.received_ns for one in box.list_newest()] == [1, 19, 18, 17]


def test_the_list_says_how_many_there_are(settings: Path, tmp_path: Path) -> None:
    """Newest first, by gateway on demand, with a sum; for programs as JSON."""
    assert call(settings, "list").output == "there are no dead letters\n"
    put(tmp_path, *(make_letter(at, f"pi-0{at % 2}") for at in range(1, 8)))
    lines = call(settings, "list", "--max", "2").output.splitlines()
    assert lines[0].startswith("7  ")
    assert lines[1] == "    bad 7"
    assert lines[-1] == "7 dead letters, 70 bytes; 7 not replayed; shown: 2"
    heads = json.loads(call(settings, "list", "--gateway", "pi-00", "--json").output)
    assert [one["received_ns"] for one in heads] == [6, 4, 2]


def test_a_letter_is_shown_with_what_is_in_it(settings: Path, tmp_path: Path) -> None:
    """Whose batch, which tags, which span; control characters stay harmless."""
    put(tmp_path, make_letter(1, "pi-01", make_batch(4)), make_letter(2, "pi-01", b"\x1b[31m{"))
    shown = call(settings, "show", "1").output
    assert "content   batch 4 of pi-01 (epoch 9f2c): 2 values of 'current', 2026-11-22T08:58:32" in shown
    broken = call(settings, "show", "2").output
    assert "not a batch that can be read" in broken
    assert "\x1b" not in broken
    assert "\\x1b[31m{" in broken


def test_letters_of_a_gateway_are_replayed_and_counted_once(settings: Path, tmp_path: Path) -> None:
    """What is good is stored and leaves the dead letters' sum, however often it is replayed."""
    put(
        tmp_path,
        make_letter(1, "pi-01", make_batch(1)),
        make_letter(2, "pi-01", b"{"),
        make_letter(3, "pi-02", make_batch(1, "pi-02")),
    )
    ledger = Ledger(open_records(f"sqlite:///{tmp_path}/records.sqlite"))
    with ledger.begin() as connection:
        ledger.record(connection, {("pi-01", "9f2c"): EpochChange(dead_lettered=[(1, 2)])})
    said = call(settings, "replay", "--gateway", "pi-01")
    assert said.exit_code == 1
    assert said.output.splitlines()[0] == "1  stored"
    assert said.output.splitlines()[-1] == "1 of 2 are stored"
    assert call(settings, "replay", "1").exit_code == 0
    (account, *_) = list_accounts(ledger._engine, "pi-01")
    assert (account.values_stored, account.values_dead_lettered) == (2, 0)
    (stored,) = EmbeddedReader(tmp_path / "store.sqlite").list_machines()
    assert (stored.machine, stored.first_ns) == (PUMP, START + 1)
    assert call(settings, "replay").exit_code == 2


def test_an_export_has_every_byte(settings: Path, tmp_path: Path) -> None:
    """One JSON object a line; text as text, anything else in base64; the letters stay."""
    payloads = [make_batch(1), b"\xff\x00\x1b", "Ünïcödé\n".encode()]
    put(tmp_path, *(make_letter(at, "pi-01", payload) for at, payload in enumerate(payloads, 1)))
    file = tmp_path / "letters.jsonl"
    assert call(settings, "export", str(file)).output == f"3 dead letters are in {file}\n"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    back = [
        row["payload"].encode() if "payload" in row else base64.b64decode(row["payload_base64"])
        for row in rows
    ]
    assert back == payloads
    assert [row["reason"] for row in rows] == ["bad 1", "bad 2", "bad 3"]
    assert rows[0]["received"] == "1970-01-01T00:00:00Z"
    assert call(settings, "export", str(file), "2").output.startswith("1 dead letters")
    assert call(settings, "list").output.endswith("shown: 3\n")
    assert call(settings, "export", str(tmp_path / "none" / "x")).exit_code == 2
