"""Heartbeat repeats: marked by the gateway, and still marked wherever frames are built anew."""

from copy import deepcopy

from hypothesis import given
from hypothesis import strategies as st

from cloud.ingest import shares
from edge.drivers.tags import TagSettings
from edge.polling.clock import Timeline
from edge.polling.clock_keeper import ClockKeeper
from edge.polling.packing import merge_frames, pack
from edge.polling.tag_filter import make_filter
from models.telemetry import Batch, Frame, MachinePath, Value, decode_batch, encode_batch, quality

PUMP = MachinePath.parse("site/area/line/pump")
SECOND = 1_000_000_000
TRUE = 1_795_337_912 * SECOND

Reading = tuple[int, str, Value, int | None, bool]


def list_readings(frames: list[Frame]) -> list[Reading]:
    """Return every reading on its own: (timestamp, tag, value, status code, whether it is a repeat)."""
    return sorted(
        (
            (at, tag, column[row], frame.quality.get(tag, {}).get(row), row in frame.repeats.get(tag, []))
            for frame in frames
            for tag, column in frame.values.items()
            for row, at in enumerate(frame.timestamps)
        ),
        key=lambda reading: reading[:2],
    )


@st.composite
def marked_frames(draw: st.DrawFn) -> list[Frame]:
    """Draw what one machine's tags say, time going on: some of it uncertain, some of it repeats."""
    frames, at = [], 1
    for _ in range(draw(st.integers(1, 12))):
        rows = draw(st.integers(1, 5))
        places = st.sets(st.integers(0, rows - 1), min_size=1)
        tags = draw(st.sampled_from([("a",), ("a", "b"), ("b", "a"), ("c",)]))
        column = st.lists(st.none() | st.floats(-9, 9), min_size=rows, max_size=rows)
        marked, repeating = draw(st.sets(st.sampled_from(tags))), draw(st.sets(st.sampled_from(tags)))
        frames.append(
            Frame(
                list(range(at, at + rows)),
                {tag: draw(column | column.map(tuple)) for tag in tags},
                {tag: dict.fromkeys(draw(places), quality.UNCERTAIN) for tag in sorted(marked)},
                {tag: sorted(draw(places)) for tag in sorted(repeating)},
            )
        )
        at += rows
    return frames


def encode(part: list[Frame]) -> bytes:
    """Return the payload of some frames."""
    return encode_batch(Batch("pi-01", "e", 1, part))


@given(marked_frames(), st.integers(220, 500))
def test_from_the_packing_to_the_store_no_mark_is_lost_or_moves(frames: list[Frame], bytes_max: int) -> None:
    """Merged, cut, decoded, merged again: timestamp, tag, value, quality and repeat stay together."""
    packed = pack(merge_frames(deepcopy(frames)), encode, bytes_max)
    arrived = [frame for _, payload in packed for frame in decode_batch(payload).frames]
    assert list_readings(arrived) == list_readings(frames)
    assert list_readings(shares.merge_frames(arrived)) == list_readings(frames)


@given(marked_frames(), marked_frames())
def test_a_timeline_moves_marks_with_their_readings(earlier: list[Frame], later: list[Frame]) -> None:
    """Rows that fall out or are clamped take their marks along, and no other row's."""
    timeline = Timeline()
    marks: dict[tuple[str, Value, int | None], set[bool]] = {}
    for _, tag, value, code, repeated in list_readings(earlier) + list_readings(later):
        marks.setdefault((tag, value, code), set()).add(repeated)
    admitted = [kept for frame in earlier + later for kept in timeline.admit(frame, TRUE)]
    for _, tag, value, code, repeated in list_readings(admitted):
        assert repeated in marks[tag, value, code]
    assert len(list_readings(admitted)) + timeline.repeats_total == len(list_readings(earlier + later))


@given(marked_frames())
def test_a_clock_that_is_set_moves_nothing_but_time(frames: list[Frame]) -> None:
    """Held and restamped: the same readings, all later by the same."""
    keeper = ClockKeeper()
    held = keeper.admit(PUMP, frames, 100, 100)
    assert not any(left for _, left in held)
    released = [frame for _, found in keeper.release(TRUE, 100) for frame in found]
    shifted = [(at + TRUE - 100, *rest) for at, *rest in list_readings(frames)]
    assert [tuple(reading) for reading in list_readings(released)] == shifted


def test_what_only_the_heartbeat_brought_is_marked() -> None:
    """First value, changes, the foot of a step: not marked. The same value again, 10 s later: marked."""
    quiet = make_filter([TagSettings(name="a", deadband=1, heartbeat_s=10), TagSettings(name="b")])
    assert quiet is not None
    values = [5.0] * 12 + [5.5] * 10 + [9.0, 9.0]
    polls = [Frame([at * SECOND], {"a": [value], "b": [value]}) for at, value in enumerate(values, 1)]
    rows = merge_frames(polls)
    kept = list_readings(quiet.apply(rows))
    of_a = [(at // SECOND, value, repeated) for at, tag, value, _, repeated in kept if tag == "a"]
    assert of_a == [(1, 5.0, False), (11, 5.0, True), (21, 5.5, True), (22, 5.5, False), (23, 9.0, False)]
    assert not any(repeated for _, tag, _, _, repeated in kept if tag == "b")
