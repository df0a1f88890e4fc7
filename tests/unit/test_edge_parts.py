"""The edge's small parts: packing, timelines, schedules, words, settings."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.outbox.words import describe_room
from edge.polling.clock import Timeline, is_clock_synchronised
from edge.polling.collector import Collector
from edge.polling.machine_states import MachineStates
from edge.polling.packing import TooLarge, merge_frames, pack
from edge.polling.poller import Schedule
from edge.settings import EdgeSettings
from edge.vitals.status import limit_ranges
from models.link import BrokerSettings, TlsSettings, check_credentials
from models.settings import Secret, SettingsError, load_settings
from models.telemetry import (
    Batch,
    Frame,
    MachinePath,
    Status,
    decode_batch,
    decode_status,
    encode_batch,
    encode_status,
    quality,
)

PUMP = MachinePath.parse("site/area/line/pump")
SECOND = 1_000_000_000
NOW = 1_795_337_912 * SECOND


def points(frames: list[Frame]) -> list[tuple[str, int, float | None, int | None]]:
    """Return every value on its own: (tag, timestamp, value, status code)."""
    return sorted(
        (tag, frame.timestamps[row], value, frame.quality.get(tag, {}).get(row))
        for frame in frames
        for tag, column in frame.values.items()
        for row, value in enumerate(column)
    )


@st.composite
def frames_of_one_machine(draw: st.DrawFn) -> list[Frame]:
    """Draw polls of one machine: differing tags, some bad values, time going on."""
    frames, at = [], 1
    for _ in range(draw(st.integers(1, 12))):
        rows = draw(st.integers(1, 4))
        timestamps = list(range(at, at + rows))
        at += rows
        tags = draw(st.sampled_from([("a",), ("a", "b"), ("b", "a"), ("c",)]))
        columns = st.lists(st.floats(-9, 9), min_size=rows, max_size=rows)
        values = {tag: draw(columns | columns.map(tuple)) for tag in tags}
        codes = {
            tag: dict.fromkeys(draw(st.sets(st.integers(0, rows - 1), min_size=1)), quality.UNCERTAIN)
            for tag in draw(st.sets(st.sampled_from(tags)))
        }
        frames.append(Frame(timestamps, values, codes))  # type: ignore[arg-type]  # floats are Values
    return frames


@given(frames_of_one_machine())
def test_merging_keeps_every_value_and_makes_valid_frames(frames: list[Frame]) -> None:
    """However polls differ: the same values come out, in frames that the cloud accepts."""
    merged = merge_frames(frames)
    assert points(merged) == points(frames)
    assert len(merged) <= len({tuple(frame.values) for frame in frames})
    decode_batch(encode_batch(Batch("pi-01", "e", 1, merged)))


def test_equal_polls_become_one_frame() -> None:
    """Ten polls of the same tags travel as ten rows of one frame."""
    polls = [Frame([n], {"a": [float(n)], "b": [None]}) for n in range(1, 11)]
    (merged,) = merge_frames(polls)
    assert merged == Frame(list(range(1, 11)), {"a": [float(n) for n in range(1, 11)], "b": [None] * 10})


def test_what_has_nothing_to_merge_stays_as_it_is() -> None:
    """The blocks of one poll have no tag in common; two that begin alike may still differ."""
    blocks = [Frame([1], {"a": (1.0,)}), Frame([2], {"b": (1.0,), "c": (2.0,)}), Frame([2], {"d": [None]})]
    assert merge_frames(iter(blocks)) == blocks
    assert merge_frames([*blocks, Frame([3], {"b": (3.0,)})]) == [*blocks, Frame([3], {"b": (3.0,)})]
    (*_, joined) = merge_frames([*blocks, Frame([3], {"d": (3.0,)})])
    assert joined == Frame([2, 3], {"d": [None, 3.0]})


@given(frames_of_one_machine(), st.integers(200, 400))
def test_cutting_keeps_every_value_below_the_limit(frames: list[Frame], bytes_max: int) -> None:
    """Every payload is small enough, and none of the values is lost or doubled."""

    def encode(part: list[Frame]) -> bytes:
        return encode_batch(Batch("pi-01", "e", 1, part))

    packed = pack(frames, encode, bytes_max)
    assert max(len(payload) for _, payload in packed) <= bytes_max
    assert points([frame for part, _ in packed for frame in part]) == points(frames)


def test_one_value_larger_than_the_limit_is_an_error() -> None:
    """Nothing smaller than one value can be made."""
    with pytest.raises(TooLarge):
        pack([Frame([1], {"a": [1.0]})], lambda _: b"x" * 100, 50)


def test_a_timeline_drops_repeats_and_moves_what_goes_backwards() -> None:
    """An unchanged source timestamp is no new value; an older one moves just behind the last."""
    timeline = Timeline()
    first = Frame([NOW, NOW + 10], {"a": [1.0, 2.0], "b": [3.0, None]}, {"b": {1: quality.BAD}})
    assert timeline.admit(first, NOW) == [first]
    assert timeline.admit(Frame([NOW + 10], {"a": [2.0], "b": [None]}), NOW) == []
    assert timeline.repeats_total == 2
    back = Frame([NOW + 5, NOW + 20], {"a": [4.0, 5.0], "b": [None, 7.0]}, {"b": {0: quality.BAD}})
    assert timeline.admit(back, NOW) == [
        Frame([NOW + 11, NOW + 20], {"a": [4.0, 5.0], "b": [None, 7.0]}, {"b": {0: quality.BAD}})
    ]
    assert timeline.clamped_total == 2


def test_tags_with_different_histories_part_ways() -> None:
    """A tag that repeats does not hold back the one beside it."""
    timeline = Timeline()
    timeline.admit(Frame([NOW], {"a": [1.0]}), NOW)
    assert timeline.admit(Frame([NOW], {"a": [1.0], "b": [2.0]}), NOW) == [Frame([NOW], {"b": [2.0]})]


def test_a_clock_that_was_years_ahead_does_not_poison_the_timeline() -> None:
    """After a wild timestamp the right ones are accepted as they are."""
    timeline = Timeline()
    timeline.admit(Frame([NOW + 10**9 * SECOND], {"a": [1.0]}), NOW)
    right = Frame([NOW + SECOND], {"a": [2.0]})
    assert timeline.admit(right, NOW + SECOND) == [right]
    assert (timeline.clamped_total, timeline.set_back_total) == (0, 1)


def test_a_clock_set_back_by_minutes_is_clamped_and_by_an_hour_is_obeyed() -> None:
    """Four minutes pass by themselves; an hour's values within microseconds would be no history."""
    for back_s, expected in ((240, NOW + 1), (3600, NOW - 3600 * SECOND)):
        timeline = Timeline()
        timeline.admit(Frame([NOW], {"a": [1.0], "b": [1.0]}), NOW)
        now_ns = NOW - back_s * SECOND
        (kept,) = timeline.admit(Frame([now_ns], {"a": [2.0], "b": [2.0]}), now_ns)
        assert kept.timestamps == [expected]
        assert (timeline.clamped_total, timeline.set_back_total) == ((2, 0) if back_s == 240 else (0, 2))


@given(st.lists(st.tuples(st.integers(1, 40), st.sets(st.sampled_from("abc"), min_size=1)), max_size=30))
def test_no_timestamp_is_ever_used_twice(polls: list[tuple[int, set[str]]]) -> None:
    """Whatever the source says, each tag's stored timestamps ascend strictly."""
    timeline, last = Timeline(), dict.fromkeys("abc", 0)
    for at, tags in polls:
        for frame in timeline.admit(Frame([at, at + 1], {tag: [1.0, 2.0] for tag in tags}), NOW):
            for tag in frame.values:
                for timestamp in frame.timestamps:
                    assert timestamp > last[tag]
                    last[tag] = timestamp


def test_polls_keep_their_schedule() -> None:
    """A late read is followed at once, without drift; whole cycles that are over count as missed."""
    schedule = Schedule(100.0, 1.0)
    assert schedule.next(100.25) == (0.75, 0)
    assert schedule.next(101.5) == (0.5, 0)
    assert schedule.next(103.25) == (0.0, 0)
    assert schedule.next(103.5) == (0.5, 0)
    assert schedule.next(107.75) == (0.0, 2)
    assert schedule.next(107.75) == (0.25, 0)


async def test_a_full_collector_gives_up_the_oldest() -> None:
    """Memory is bounded while the disk fails; what goes is counted; what is given back stays oldest."""
    collector = Collector(values_pending_max=4)
    for number in range(6):
        collector.add(PUMP, [Frame([number + 1], {"a": [float(number)]})])
    assert (collector.values_pending, collector.values_dropped_total) == (4, 2)
    taken = collector.take()
    assert [frame.timestamps[0] for frame in taken[0][1]] == [3, 4, 5, 6]
    collector.add(PUMP, [Frame([7], {"a": [6.0]})])
    collector.give_back(taken)
    assert [frame.timestamps[0] for _, frames in collector.take() for frame in frames] == [4, 5, 6, 7]
    assert collector.values_dropped_total == 3


def test_bad_tags_are_those_whose_last_value_is_bad() -> None:
    """A tag is bad while its newest value is, whatever came before."""
    states = MachineStates()
    states.begin(PUMP, 1)
    bad = quality.BAD_SENSOR_FAILURE
    states.observe(
        PUMP, [Frame([1, 2], {"a": [None, 1.0], "b": [1.0, None]}, {"a": {0: bad}, "b": {1: bad}})]
    )
    assert states.get(PUMP).bad_tags == {"b": bad}
    states.observe(PUMP, [Frame([3], {"a": [1.0]})])
    assert states.get(PUMP).bad_tags == {"b": bad}
    states.observe(PUMP, [Frame([4], {"b": [1.0]})])
    assert states.get(PUMP).bad_tags == {}


def test_a_bad_tag_has_the_machines_own_word_beside_its_quality() -> None:
    """As long as it is bad; it travels with the status, and of too many the first are told."""
    states = MachineStates()
    states.begin(PUMP, 1)
    tags = [f"t{number}" for number in range(300)]
    bad = Frame(
        [1], {tag: [None] for tag in tags}, {tag: {0: quality.BAD_CONFIGURATION_ERROR} for tag in tags}
    )
    words = {**dict.fromkeys(tags, "exception 2 (illegal data address)"), "fine": "never asked for"}
    states.observe(PUMP, [bad], lambda: words)
    told = states.get(PUMP).bad_reasons
    assert len(told) == 200
    assert set(told.values()) == {"exception 2 (illegal data address)"}
    status = Status(v=1, gateway="pi-01", state="online", timestamp=1, machines=states.list_all())
    assert decode_status(encode_status(status)).machines[0].bad_reasons == told
    states.observe(PUMP, [Frame([2], {tag: [1.0] for tag in tags})], dict)
    assert states.get(PUMP).bad_reasons == {}


def test_the_log_speaks_in_words() -> None:
    """What is kept, and how long it can go on."""
    assert describe_room(12_000_000, 10**9, 1270.0) == (
        "keeping values in the outbox: 12 MB of 1 GB used, room for about 9 days"
    )
    assert describe_room(0, 10**9, 0.0) == "keeping values in the outbox: 0 bytes of 1 GB used"


def test_too_many_waiting_ranges_are_said_as_fewer() -> None:
    """The status stays small; it claims that too much waits, never too little."""
    assert limit_ranges([(1, 1), (3, 3), (5, 5), (9, 9)], 3) == [(1, 1), (3, 3), (5, 9)]


def test_the_clocks_state_is_known_on_linux() -> None:
    """The kernel answers yes or no."""
    assert is_clock_synchronised() in (True, False)


def test_the_reference_settings_are_right() -> None:
    """`configs/edge.yaml` loads, and its defaults are what it says."""
    file = Path(__file__).parents[2] / "configs" / "edge.yaml"
    settings = load_settings(file, EdgeSettings)
    assert settings.outbox.path == file.parent / "outbox.sqlite"
    assert len(settings.machines) == 2


MACHINE = """
  - {kind: modbus, path: site/area/line/pump, host: 127.0.0.1, tags: [
      {name: flow, table: holding, address: 0, type: uint16}]}"""


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (f"gateway: pi-01\nmachines:{MACHINE}{MACHINE}", "both have the path site/area/line/pump"),
        (f"gateway: Pi 01\nmachines:{MACHINE}", "gateway: 'Pi 01' is not 1 to 64 of"),
        (f"gateway: pi-01\nbrokr: {{}}\nmachines:{MACHINE}", "brokr: unknown key. Did you mean broker?"),
        (f"gateway: pi-01\noutbox: {{bytes_max: 5}}\nmachines:{MACHINE}", "outbox.bytes_max: "),
        ("gateway: pi-01\nmachines: []", "machines: "),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, word: str) -> None:
    """Each mistake is said with its place."""
    file = tmp_path / "edge.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=re.escape(word)):
        load_settings(file, EdgeSettings)


def test_credentials_are_looked_at_before_the_start(tmp_path: Path) -> None:
    """A missing password, a missing file and a file of nonsense are mistakes of the settings."""
    missing = tmp_path / "password"
    with pytest.raises(SettingsError, match="cannot read the secret"):
        check_credentials(BrokerSettings(username="pi-01", password=Secret(file=missing)))
    with pytest.raises(SettingsError, match=r"broker\.tls\.ca_file: there is no file"):
        check_credentials(BrokerSettings(tls=TlsSettings(ca_file=tmp_path / "ca.pem")))
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(SettingsError, match="PEM"):
        check_credentials(BrokerSettings(tls=TlsSettings(ca_file=tmp_path / "ca.pem")))
    missing.write_text("secret\n")
    check_credentials(BrokerSettings(username="pi-01", password=Secret(file=missing)))
