"""What a damaged outbox still holds comes out whole, with the values that were put in, and nothing else."""

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.outbox.file import OutboxUnavailable
from edge.outbox.outbox import Outbox
from edge.outbox.pages import PAGE_BYTES, find_batches
from edge.outbox.rescue import NoRoom, find_whole, rescue, survey
from models.telemetry import Frame, MachinePath, decode_batch

PUMP = MachinePath.parse("site/area/line/pump")
BATCHES = 60


def value_of(number: int, row: int) -> float:
    """Return what stands in a row of a batch."""
    return number + row / 7


def make_frame(number: int, rows: int) -> Frame:
    """Return the values of one batch, which tell its number."""
    return Frame(list(range(1, rows + 1)), {"flow": [value_of(number, row) for row in range(rows)]})


def rows_of(number: int) -> int:
    """Return how large a batch is: on a leaf of others, alone on one, or spread over overflow pages."""
    return (5, 120, 700)[number % 3]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real outbox of some hundred kilobytes, closed in order."""
    path = tmp_path_factory.mktemp("original") / "outbox.sqlite"
    outbox = Outbox(path, "pi-01", 10**8)
    outbox.open()
    for number in range(1, BATCHES + 1):
        outbox.put([(PUMP, [make_frame(number, rows_of(number))])], number)
    outbox.close()
    return path


@pytest.fixture
def damaged(original: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copy(original, tmp_path / "outbox.sqlite.bad-20261123T040000Z"))


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Outbox]:
    """The outbox that was begun after the damage."""
    outbox = Outbox(tmp_path / "outbox.sqlite", "pi-01", 10**8)
    outbox.open()
    outbox.put([(PUMP, [make_frame(0, 1)])], 1)
    yield outbox
    outbox.close()


def read_numbers(path: Path) -> set[int]:
    """Return the sequences that are found, after a look at each value of each."""
    found = set()
    for batch in find_whole(path, set()):
        decoded = decode_batch(batch.payload)
        assert batch.machine == str(PUMP)
        assert decoded.frames == [make_frame(batch.sequence, rows_of(batch.sequence))]
        found.add(batch.sequence)
    return found


def test_a_sound_file_is_read_whole(original: Path) -> None:
    """Nothing broken, nothing missing; and the bare pages alone tell the same."""
    seen = survey(original)
    assert (seen.batches, seen.broken, seen.missing_max, seen.machines) == (BATCHES, 0, 0, 1)
    assert seen.values == sum(rows_of(number) for number in range(1, BATCHES + 1))
    assert {row[0] for row in find_batches(original.read_bytes())} == set(range(1, BATCHES + 1))


def test_a_file_cut_short_at_any_page_gives_what_it_holds(original: Path, damaged: Path) -> None:
    """The more is left the more is read, and never anything else than what was put in."""
    pages = original.stat().st_size // PAGE_BYTES
    counts = []
    for kept in range(pages + 1):
        shutil.copy(original, damaged)
        os.truncate(damaged, kept * PAGE_BYTES)
        counts.append(len(read_numbers(damaged)))
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, BATCHES)
    assert counts[pages // 2] >= BATCHES // 3


def test_a_page_of_noise_costs_only_what_lay_on_it(original: Path, damaged: Path) -> None:
    """Whichever page goes, the tree's or the header among them: the batches on the others are read."""
    noise = random.Random(7).randbytes(PAGE_BYTES)
    pages = original.stat().st_size // PAGE_BYTES
    small_per_leaf_max = 21  # a batch of five rows takes about 200 bytes
    for page in range(pages):
        shutil.copy(original, damaged)
        with damaged.open("r+b") as file:
            file.seek(page * PAGE_BYTES)
            file.write(noise)
        assert len(read_numbers(damaged)) >= BATCHES - small_per_leaf_max, page


@given(places=st.lists(st.integers(0, 10**9), min_size=1, max_size=20))
def test_flipped_bits_never_become_values(
    original: Path, tmp_path_factory: pytest.TempPathFactory, places: list[int]
) -> None:
    """A batch with a wrong bit anywhere is broken or missing; every other is read."""
    content = bytearray(original.read_bytes())
    for place in places:
        at = place % (8 * len(content))
        content[at // 8] ^= 1 << at % 8
    damaged = tmp_path_factory.mktemp("flipped") / "outbox.sqlite"
    damaged.write_bytes(content)
    assert len(read_numbers(damaged)) >= BATCHES - 21 * len(places)


def test_a_flipped_digit_is_counted_as_broken(damaged: Path, fresh: Outbox) -> None:
    """A value that a dying disk has changed is still a number: the checksum tells."""
    content = damaged.read_bytes()
    digit = content.index(b"30.142857142857142")
    damaged.write_bytes(content[:digit] + b"9" + content[digit + 1 :])
    seen = survey(damaged)
    assert (seen.batches, seen.broken) == (BATCHES - 1, 1)
    made, _ = rescue(damaged, fresh, 99)
    assert made == BATCHES - 1


def test_what_is_rescued_goes_on_under_new_sequences(damaged: Path, fresh: Outbox) -> None:
    """The same values, this outbox's epoch, numbers that nobody has used; what waited here stays."""
    with damaged.open("r+b") as file:
        file.write(b"\xff" * PAGE_BYTES)
    made, values = rescue(damaged, fresh, 99)
    read, _ = fresh.read([(1, 10**6)], 10**6, 10**9)
    batches = [decode_batch(batch.payload) for batch in read]
    assert made == BATCHES
    assert values == sum(rows_of(number) for number in range(1, BATCHES + 1))
    assert [batch.sequence for batch in batches] == list(range(1, BATCHES + 2))
    assert {batch.epoch for batch in batches} == {fresh.identity.epoch}
    wanted = {str(make_frame(number, rows_of(number))) for number in range(1, BATCHES + 1)}
    assert {str(batch.frames[0]) for batch in batches[1:]} == wanted


def test_the_log_beside_the_file_is_read_too(tmp_path: Path) -> None:
    """An agent that was killed leaves its last batches in the write-ahead log, set aside with the file."""
    running = Outbox(tmp_path / "outbox.sqlite", "pi-01", 10**8)
    running.open()
    running.put([(PUMP, [make_frame(1, rows_of(1))])], 1)
    for suffix in ("", "-wal"):
        shutil.copy(tmp_path / f"outbox.sqlite{suffix}", tmp_path / f"outbox.sqlite.bad-1{suffix}")
    running.close()
    assert read_numbers(tmp_path / "outbox.sqlite.bad-1") == {1}


def test_nothing_older_is_given_up_for_a_rescue(damaged: Path, tmp_path: Path) -> None:
    """Without room for all of it nothing happens, and the mend is said."""
    small = Outbox(tmp_path / "small.sqlite", "pi-01", 1_000)
    small.open()
    with pytest.raises(NoRoom, match=r"raise outbox\.bytes_max"):
        rescue(damaged, small, 1)
    assert small.totals().sequence_last == 0
    small.close()
    with pytest.raises(OutboxUnavailable, match="no such file"):
        survey(tmp_path / "nothing")


@pytest.mark.parametrize("is_list_damaged", [False, True])
def test_what_was_delivered_is_not_found_in_pages_that_are_free(
    tmp_path: Path, is_list_damaged: bool
) -> None:
    """Deleting leaves the bytes where they are; with the list of free pages damaged, too much is found."""
    path = tmp_path / "outbox.sqlite"
    outbox = Outbox(path, "pi-01", 10**8)
    outbox.open()
    for number in range(1, BATCHES + 1):
        outbox.put([(PUMP, [make_frame(number, rows_of(number))])], number)
    outbox.release([(1, BATCHES - 5)])
    outbox.close()
    file = bytearray(path.read_bytes())
    if is_list_damaged:
        trunk = int.from_bytes(file[32:36], "big")
        file[(trunk - 1) * PAGE_BYTES + 8 : (trunk - 1) * PAGE_BYTES + 12] = b"\xff" * 4
    found = {sequence for sequence, *_ in find_batches(bytes(file))}
    waiting = set(range(BATCHES - 4, BATCHES + 1))
    assert found > waiting if is_list_damaged else found == waiting
