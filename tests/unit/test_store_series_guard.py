"""The budget of new series: by gateway, refilled by the hour, and nothing refused is lost."""

import time
from collections.abc import Sequence

from cloud.ingest.inbox import Delivery
from cloud.ingest.series_guard import Admission, SeriesGuard
from cloud.ingest.sorting import Accepted, sort_delivery
from cloud.ingest.stowing import deliver_excerpt
from cloud.stores import StoredMachine
from models.link import LinkMessage
from models.telemetry import Batch, Frame, Gap, MachinePath, Topics, count_values, decode_batch, encode_batch

PUMP = MachinePath("riverside", "hall-1", "water", "pump-7")
MOTOR = MachinePath("riverside", "hall-1", "water", "motor-3")
TOPICS = Topics()


def accept(
    sequence: int,
    tags: Sequence[str],
    gateway: str = "pi-01",
    machine: MachinePath = PUMP,
    gaps: Sequence[Gap] = (),
) -> Accepted:
    """Return a batch of two rows of these tags."""
    frames = [Frame([sequence * 10, sequence * 10 + 1], {tag: [1.0, None] for tag in tags})] if tags else []
    payload = encode_batch(Batch(gateway, "ab12", sequence, frames, list(gaps)))
    message = LinkMessage(TOPICS.batch(gateway, machine), payload, 1, 1)
    judged = sort_delivery(Delivery(message, 1, time.monotonic()), TOPICS.parse)
    assert isinstance(judged, Accepted)
    return judged


def list_tags(admitted: Admission) -> list[list[str]]:
    """Return the tags that may be stored, by batch."""
    return [[tag for frame in one.batch.frames for tag in frame.values] for one in admitted.accepted]


def test_beyond_its_budget_a_gateways_new_tags_are_refused_and_its_known_ones_are_not() -> None:
    """Two of three new tags fit; the third goes to the dead letters, also the next time."""
    guard = SeriesGuard(2)
    first = guard.admit([accept(1, "abc")], 0.0)
    assert list_tags(first) == [["a", "b"]]
    assert (first.spent, first.series_refused, first.poison) == (["pi-01"], 1, [])
    (excerpt,) = first.excerpts
    assert "gateway pi-01 has made its 2 new series" in excerpt.reason
    assert "dead-letters replay" in excerpt.reason
    assert decode_batch(excerpt.payload).frames == [Frame([10, 11], {"c": [1.0, None]})]
    assert (excerpt.values, first.accepted[0].values) == (1, 2)
    kept = decode_batch(first.accepted[0].delivery.message.payload)
    assert kept.frames == first.accepted[0].batch.frames
    second = guard.admit([accept(2, "abc"), accept(3, "ab"), accept(4, "d")], 1.0)
    assert list_tags(second) == [["a", "b"], ["a", "b"]]
    assert [one.sequence for one in second.poison] == [4]
    assert second.spent == []


def test_a_gateway_that_is_refused_costs_the_others_nothing() -> None:
    """Each has a budget of its own, whatever machine the tags are of."""
    guard = SeriesGuard(2)
    flood = [accept(at, [f"tag-{at}"]) for at in range(1, 50)]
    assert len(guard.admit(flood, 0.0).poison) == 47
    other = guard.admit([accept(1, "xy", "pi-02", MOTOR), accept(2, "tu", "pi-02")], 0.0)
    assert list_tags(other) == [["x", "y"]]
    assert len(other.poison) == 1


def test_what_the_store_knows_costs_nothing() -> None:
    """A restart of the cloud does not make a plant's tags new again."""
    guard = SeriesGuard(1)
    guard.learn([StoredMachine(PUMP, ["a", "b", "c"], 1, 2)])
    admitted = guard.admit([accept(1, "abcd")], 0.0)
    assert list_tags(admitted) == [["a", "b", "c", "d"]]
    assert admitted.excerpts == []


def test_the_budget_fills_up_by_the_hour() -> None:
    """Half an hour brings half of it back, a day not more than all of it; refusals are said once an hour."""
    guard = SeriesGuard(4)
    assert list_tags(guard.admit([accept(1, "abcdef")], 0.0)) == [list("abcd")]
    assert list_tags(guard.admit([accept(2, "efghi")], 1800.0)) == [["e", "f"]]
    late = guard.admit([accept(3, "123456")], 90_000.0)
    assert list_tags(late) == [list("1234")]
    assert late.spent == ["pi-01"]
    assert guard.admit([accept(4, "789")], 90_001.0).spent == []


def test_gaps_are_stored_whatever_becomes_of_the_values() -> None:
    """A batch of refused tags keeps its gaps, and a batch of gaps alone is no new series."""
    gap = Gap(1, 2, "connection_lost")
    guard = SeriesGuard(1)
    admitted = guard.admit(
        [accept(1, "ab", gaps=[gap]), accept(2, "cd", gaps=[gap]), accept(3, [], gaps=[gap])], 0.0
    )
    assert [one.batch.gaps for one in admitted.accepted] == [[gap]] * 3
    assert [count_values(one.batch.frames) for one in admitted.accepted] == [1, 0, 0]
    assert admitted.poison == []
    letters = [decode_batch(deliver_excerpt(one).delivery.message.payload) for one in admitted.excerpts]
    assert [letter.gaps for letter in letters] == [[], []]


def test_a_flood_of_machines_is_not_remembered() -> None:
    """Machines whose every tag is refused leave nothing behind in memory."""
    guard = SeriesGuard(3)
    for at in range(100):
        guard.admit([accept(1, "a", machine=MachinePath("s", "a", "l", f"m{at}"))], 0.0)
    assert len(guard._known) == 3
