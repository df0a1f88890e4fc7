"""Bringing batches into a store that refuses some readings: each reading is stored or a dead letter, once."""

import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.ingest.inbox import Delivery
from cloud.ingest.ingester import make_changes, make_verdicts
from cloud.ingest.ledger import EpochAccount, EpochChange, apply_change
from cloud.ingest.sorting import Accepted, sort_delivery
from cloud.ingest.stowing import deliver_excerpt, stow_batches
from cloud.stores import Block, Rejection, slicing
from models.link import LinkMessage
from models.telemetry import Batch, Frame, Gap, MachinePath, Topics, count_values, decode_batch, encode_batch

PUMP = MachinePath("riverside", "hall-1", "water", "pump-7")
TOPICS = Topics()
KEY = ("pi-01", "ab12")

Reading = tuple[MachinePath, str, int]


class FussyStore:
    """Keeps readings, but for those in `refused`; `whole` says whether it names blocks instead."""

    def __init__(self, refused: set[tuple[str, int]], whole: bool) -> None:
        self.kept: dict[Reading, float | None] = {}
        self._refused = refused
        self._whole = whole

    def write(self, blocks: Sequence[Block]) -> list[Rejection]:
        """Keep what is not refused."""
        rejections = []
        for index, block in enumerate(blocks):
            bad, good = slicing.part_readings(block.frames, self._refused)
            if bad:
                rejections.append(Rejection(index, "no", [] if self._whole else bad))
            for frame in block.frames if not bad else [] if self._whole else good:
                for tag, column in frame.values.items():
                    for instant, value in zip(frame.timestamps, column, strict=True):
                        self.kept[block.machine, tag, instant] = value
        return rejections


def accept(sequence: int, frames: list[Frame], gaps: Sequence[Gap] = ()) -> Accepted:
    """Return a batch as the ingester accepts it."""
    payload = encode_batch(Batch(*KEY, sequence, frames, list(gaps)))
    message = LinkMessage(TOPICS.batch("pi-01", PUMP), payload, 1, 1)
    judged = sort_delivery(Delivery(message, 1, time.monotonic()), TOPICS.parse)
    assert isinstance(judged, Accepted)
    return judged


def find_readings(frames: Sequence[Frame]) -> dict[tuple[str, int], float | None]:
    """Return each reading of the frames."""
    return {
        (tag, instant): value
        for frame in frames
        for tag, column in frame.values.items()
        for instant, value in zip(frame.timestamps, column, strict=True)
    }


@st.composite
def loads(draw: st.DrawFn) -> tuple[list[list[Frame]], set[tuple[str, int]]]:
    """Some batches with instants of their own, and which readings the store will refuse."""
    batches, instant, everything = [], 1, []
    for _ in range(draw(st.integers(1, 4))):
        frames = []
        for _ in range(draw(st.integers(1, 3))):
            tags = draw(st.lists(st.sampled_from("abc"), min_size=1, unique=True))
            times = list(range(instant, instant + draw(st.integers(1, 4))))
            instant = times[-1] + 1
            columns: dict[str, list[float | None]] = {
                tag: [draw(st.one_of(st.none(), st.integers(0, 9).map(float))) for _ in times] for tag in tags
            }
            frames.append(Frame(times, columns, {tags[0]: {0: 0x40000000}}))
            everything += [(tag, at) for tag in tags for at in times]
        batches.append(frames)
    return batches, set(draw(st.lists(st.sampled_from(everything), max_size=8)))


@given(loads(), st.booleans())
def test_each_reading_is_stored_or_a_dead_letter(
    load: tuple[list[list[Frame]], set[tuple[str, int]]], whole: bool
) -> None:
    """Nothing is lost between the store and the letters, and the ledger's sums say so."""
    batches, refused = load
    store = FussyStore(refused, whole)
    stowed = stow_batches([accept(at + 1, frames) for at, frames in enumerate(batches)], store.write)
    buried = [deliver_excerpt(one) for one in stowed.excerpts] + stowed.poison
    letters = [decode_batch(one.delivery.message.payload) for one in buried]
    produced = find_readings([frame for frames in batches for frame in frames])
    dead = find_readings([frame for letter in letters for frame in letter.frames])
    stored = {(tag, at): value for (_, tag, at), value in store.kept.items()}
    assert stored | dead == produced
    assert not stored.keys() & refused
    assert not dead.keys() & stored.keys()
    if not whole:
        assert set(dead) == refused
    account = EpochAccount(*KEY)
    for change in make_changes(stowed.stored, stowed.poison, [], stowed.excerpts).values():
        apply_change(account, change)
    assert account.values_stored == sum(value is not None for value in stored.values())
    assert account.values_dead_lettered == sum(value is not None for value in dead.values())
    settled = [*account.stored, *account.dead_lettered]
    assert sorted(at for first, last in settled for at in range(first, last + 1)) == list(
        range(1, len(batches) + 1)
    )
    held = [frame for block in stowed.blocks for frame in block.frames]
    assert find_readings(held) == stored


def test_an_excerpt_keeps_the_quality_of_its_readings() -> None:
    """What is dead-lettered is a batch like any other, with codes and marks at their rows."""
    frame = Frame(
        [1, 2, 3],
        {"a": [1.0, None, 3.0], "b": [4.0, 5.0, 6.0]},
        {"a": {1: 0x80000000, 2: 0x40000000}},
        {"a": [2]},
    )
    stowed = stow_batches([accept(1, [frame])], FussyStore({("a", 2), ("a", 3)}, whole=False).write)
    (excerpt,) = stowed.excerpts
    (kept,) = decode_batch(excerpt.payload).frames
    assert kept == Frame([2, 3], {"a": [None, 3.0]}, {"a": {0: 0x80000000, 1: 0x40000000}}, {"a": [1]})
    assert (excerpt.values, stowed.stored[0].values) == (1, 4)


def test_the_gaps_of_a_batch_stay_with_what_is_stored() -> None:
    """A refusal of every reading does not bury the gaps: they are settled as stored, once."""
    gap = Gap(1, 2, "connection_lost")
    stowed = stow_batches(
        [accept(1, [Frame([1], {"a": [1.0]})], [gap])], FussyStore({("a", 1)}, whole=False).write
    )
    assert [one.batch.gaps for one in stowed.stored] == [[gap]]
    assert decode_batch(stowed.excerpts[0].payload).gaps == []
    assert make_verdicts(stowed.stored, stowed.poison, [])[KEY].stored == [1]


def test_a_replayed_excerpt_moves_its_values() -> None:
    """What was dead-lettered of a stored batch counts as stored afterwards, and nothing else changes."""
    account = EpochAccount(*KEY)
    apply_change(account, EpochChange(stored=[(1, 7)], dead_parts={1: 3}))
    assert (account.values_stored, account.values_dead_lettered, account.stored.total) == (7, 3, 1)
    apply_change(account, EpochChange(stored=[(1, 7)], dead_parts={1: 3}))
    assert (account.values_stored, account.values_dead_lettered, account.duplicates) == (7, 3, 1)
    apply_change(account, EpochChange(replayed=[(1, 3)]))
    assert (account.values_stored, account.values_dead_lettered, account.stored.total) == (10, 0, 1)


def test_a_replayed_batch_is_stored_afterwards() -> None:
    """A batch that was dead-lettered whole is in the stored ranges and no longer in the others."""
    account = EpochAccount(*KEY)
    apply_change(account, EpochChange(stored=[(1, 5)], dead_lettered=[(2, 4)]))
    apply_change(account, EpochChange(replayed_whole=[(2, 4)]))
    assert (account.values_stored, account.values_dead_lettered) == (9, 0)
    assert (list(account.stored), list(account.dead_lettered)) == ([(1, 2)], [])


@pytest.mark.parametrize("refused", [0, 3])
def test_a_batch_that_came_again_meanwhile_counts_once_when_its_letter_is_replayed(refused: int) -> None:
    """Dead-lettered whole, then stored by a resend (perhaps but for some values), then replayed: once."""
    account = EpochAccount(*KEY)
    apply_change(account, EpochChange(dead_lettered=[(1, 10)]))
    apply_change(account, EpochChange(stored=[(1, 10 - refused)], dead_parts={1: refused}))
    assert (account.values_stored, account.values_dead_lettered) == (10 - refused, refused)
    apply_change(account, EpochChange(replayed_whole=[(1, 10)]))
    assert (account.values_stored, account.values_dead_lettered) == (10 - refused, refused)
    apply_change(account, EpochChange(replayed=[(1, refused)]))
    assert (account.values_stored, account.values_dead_lettered, list(account.stored)) == (10, 0, [(1, 1)])


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(1, 4))
def test_halves_together_are_the_whole(rows: list[int], tags: int) -> None:
    """Halving goes on to single readings and loses none on the way."""
    frames, instant = [], 1
    for count in rows:
        times = list(range(instant, instant + count))
        instant += count
        frames.append(Frame(times, {f"t{tag}": [float(at) for at in times] for tag in range(tags)}))
    pending, lone = [frames], []
    while pending:
        part = pending.pop()
        halves = slicing.halve_tags(part) or slicing.halve_rows(part)
        pending += halves
        lone += [] if halves else [part]
    assert all(count_values(part) == 1 for part in lone)
    assert find_readings([frame for part in lone for frame in part]) == find_readings(frames)
    assert len(lone) == count_values(frames)
