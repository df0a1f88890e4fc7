"""The timeline's short ways against its rule, tag by tag: what comes, in whatever order and company."""

from hypothesis import given
from hypothesis import strategies as st

from edge.polling.clock import CLAMP_S_MAX, GROUPS_MAX, Timeline
from models.telemetry import Frame

NOW = 1_000_000
CLAMP = CLAMP_S_MAX * 1_000_000_000

Said = dict[str, list[tuple[int, float | None]]]


class PlainTimeline:
    """The rule and nothing else: each value of each tag by itself."""

    def __init__(self) -> None:
        self.last: dict[str, int] = {}
        self.repeats_total = self.clamped_total = self.set_back_total = 0

    def admit(self, frame: Frame, now_ns: int) -> Said:
        """Return what of the frame is new, with the timestamps it gets."""
        kept: Said = {}
        for tag, column in frame.values.items():
            last = self.last.get(tag, 0)
            if last > now_ns + CLAMP:
                self.set_back_total += frame.timestamps[0] < last
                last = 0
            for at, value in zip(frame.timestamps, column, strict=True):
                if at == last:
                    self.repeats_total += 1
                    continue
                self.clamped_total += at < last
                last = max(at, last + 1)
                kept.setdefault(tag, []).append((last, value))
            self.last[tag] = last
        return kept


def spell(frames: list[Frame]) -> Said:
    """Return what each tag says, in order."""
    said: Said = {}
    for frame in frames:
        for tag, column in frame.values.items():
            said.setdefault(tag, []).extend(zip(frame.timestamps, column, strict=True))
    return said


def agree(frames: list[tuple[Frame, int]]) -> None:
    """Check that both timelines say the same of each frame, and count the same."""
    timeline, plain = Timeline(), PlainTimeline()
    for frame, now_ns in frames:
        assert spell(timeline.admit(frame, now_ns)) == plain.admit(frame, now_ns)
        counted = timeline.repeats_total, timeline.clamped_total, timeline.set_back_total
        assert counted == (plain.repeats_total, plain.clamped_total, plain.set_back_total)


@st.composite
def told(draw: st.DrawFn) -> list[tuple[Frame, int]]:
    """Draw frames of groups of tags: most in order, some repeated, late, or of a clock far ahead."""
    groups = draw(
        st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, unique=True), min_size=1, max_size=5)
    )
    frames, at = [], NOW
    for _ in range(draw(st.integers(1, 25))):
        step = draw(st.sampled_from([1, 1, 1, 2, 5, 0, -1, -3, 2 * CLAMP, -2 * CLAMP]))
        at = max(1, at + step)
        times = list(range(at, at + draw(st.integers(1, 3))))
        column = draw(st.sampled_from([list, tuple]))
        values = {
            tag: column(None if place == 2 else float(len(frames) + place) for place in range(len(times)))
            for tag in draw(st.sampled_from(groups))
        }
        frames.append((Frame(times, values), draw(st.sampled_from([NOW, at]))))
        if draw(st.booleans()):
            at = times[-1]
    return frames


@given(told())
def test_a_timeline_says_what_its_rule_says_of_each_tag(frames: list[tuple[Frame, int]]) -> None:
    """Whatever groups of tags come, in whatever order of time: the same values, timestamps and counts."""
    agree(frames)


def test_more_groups_than_are_remembered_are_still_known() -> None:
    """Each of many small groups, and each tag of them alone, is known after all of them have come."""
    names = [f"t{number}" for number in range(3 * GROUPS_MAX)]
    whole = [names[at : at + 2] for at in range(0, len(names), 2)]
    frames, at = [], 0
    for tags in [*whole, *whole[::-1], names[:5], names[3:9], *whole]:
        at += 1
        frames.append((Frame([at], {tag: (float(at),) for tag in tags}), NOW))
    timeline = Timeline()
    for frame, _ in frames:
        timeline.admit(frame, NOW)
        assert len(timeline._groups) <= GROUPS_MAX
    once_more = [(Frame([at - back], {name: (1.0,)}), NOW) for name in names for back in (100, 0)]
    agree(frames + once_more)


def test_groups_that_share_tags_are_known_by_their_last() -> None:
    """A tag that came in several groups has the time of the last of them, whichever way it is looked up."""
    for groups in (["ac", "bc", "ab", "bd", "ac"], ["ac", "bc", "ac"], ["abcd", "b", "c", "abcd", "dc"]):
        frames = [Frame([at], dict.fromkeys(tags, (1.0,))) for at, tags in enumerate(groups, 1)]
        for tag in "abcd":
            for at in range(1, 7):
                agree([(frame, NOW) for frame in [*frames, Frame([at], {tag: (2.0,)})]])
