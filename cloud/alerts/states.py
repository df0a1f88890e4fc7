"""Decides when an alert is raised, escalated, widened and cleared: pure, event time in, change out."""

from typing import Literal

import msgspec

from cloud.alerts import AlertKind
from cloud.alerts.settings import AlertSettings
from cloud.watch.observations import Contribution, Observation

CONTRIBUTIONS_MAX = 3
CLOCK_MENDED_NS = 3_600_000_000_000
"""News this much older than the last is a clock set right, not a repeat (late values come as historical)."""

Step = Literal["raised", "escalated", "widened", "cleared"]


class JudgedWindow(msgspec.Struct, frozen=True):
    """One judgement that still counts: whether it was above the limit, and what stood out."""

    timestamp: int
    above: bool
    contributions: list[Contribution] = []


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """What must be remembered of a machine between two observations.

    `windows` are the last judged ones (bounded by the settings). `above_since` is set while enough of them
    are above; `calm_since` while an alert is open and nothing speaks for it. `faulty_since` counts the
    on-delay per tag; `told` are the faulty tags that the open alert names.
    """

    last: int = 0
    windows: list[JudgedWindow] = []
    above_since: int | None = None
    calm_since: int | None = None
    faulty_since: dict[str, int] = {}
    told: list[str] = []
    alert: AlertKind | None = None

    @property
    def is_idle(self) -> bool:
        """Whether forgetting it changes nothing: no alert, and nothing on the way to one."""
        return (
            self.alert is None and not self.faulty_since and not any(window.above for window in self.windows)
        )


class Change(msgspec.Struct, frozen=True):
    """What an observation changes. `contributions` (strongest first) and `faulty` are its evidence."""

    step: Step
    kind: AlertKind
    contributions: list[Contribution] = []
    faulty: list[str] = []


def advance(progress: Progress, seen: Observation, rules: AlertSettings) -> tuple[Progress, Change | None]:
    """Return the progress after `seen`, and the change that it makes, if any.

    A repeat (not newer than the last) and what is historical change nothing. A machine that is learning or
    cannot be judged neither raises nor clears, and the calm must then last anew.
    """
    if seen.historical:
        return progress, None
    if seen.timestamp <= progress.last:
        if progress.last - seen.timestamp < CLOCK_MENDED_NS:
            return progress, None
        progress = Progress(alert=progress.alert, told=progress.told)
    if seen.state != "judged" or seen.score is None or seen.limit is None:
        return msgspec.structs.replace(progress, last=seen.timestamp, calm_since=None), None
    judged = _remember(progress, seen, rules)
    faulty = [
        tag
        for tag, since in judged.faulty_since.items()
        if seen.timestamp - since >= rules.tag_on_delay_s * 1e9
    ]
    if _is_strange(judged, seen, rules) and judged.alert != "machine":
        step: Step = "raised" if judged.alert is None else "escalated"
        return _open(judged, "machine", faulty), Change(
            step, "machine", weigh_contributions(judged.windows), faulty
        )
    if judged.alert is None:
        if not faulty:
            return judged, None
        return _open(judged, "tag", faulty), Change("raised", "tag", faulty=faulty)
    if set(faulty) - set(judged.told):
        told = list(dict.fromkeys([*judged.told, *faulty]))
        return msgspec.structs.replace(judged, told=told, calm_since=None), Change(
            "widened", judged.alert, faulty=told
        )
    return _calm_down(judged, seen, rules)


def weigh_contributions(windows: list[JudgedWindow]) -> list[Contribution]:
    """Return what stood out over all windows above the limit, strongest first, with the latest numbers.

    One window's order is noise; the sum over the on-delay is not.
    """
    weight: dict[str, float] = {}
    latest: dict[str, Contribution] = {}
    for window in windows:
        if window.above:
            for part in window.contributions:
                weight[part.tag] = weight.get(part.tag, 0.0) + abs(part.sigma)
                latest[part.tag] = part
    strongest = sorted(latest, key=lambda tag: -weight[tag])[:CONTRIBUTIONS_MAX]
    return [latest[tag] for tag in strongest]


def _remember(progress: Progress, seen: Observation, rules: AlertSettings) -> Progress:
    """Return the progress with this judged window in it."""
    assert seen.score is not None
    assert seen.limit is not None
    above = seen.score > seen.limit
    window = JudgedWindow(seen.timestamp, above, seen.contributions if above else [])
    windows = [*progress.windows, window][-rules.windows :]
    strange = [window.timestamp for window in windows if window.above]
    enough = len(strange) >= rules.windows_above
    return msgspec.structs.replace(
        progress,
        last=seen.timestamp,
        windows=windows,
        above_since=(progress.above_since or strange[0]) if enough else None,
        faulty_since={tag: progress.faulty_since.get(tag, seen.timestamp) for tag in seen.faulty_tags},
    )


def _is_strange(judged: Progress, seen: Observation, rules: AlertSettings) -> bool:
    return (
        judged.windows[-1].above
        and judged.above_since is not None
        and seen.timestamp - judged.above_since >= rules.on_delay_s * 1e9
    )


def _open(judged: Progress, kind: AlertKind, faulty: list[str]) -> Progress:
    told = list(dict.fromkeys([*judged.told, *faulty]))
    return msgspec.structs.replace(judged, alert=kind, told=told, calm_since=None)


def _calm_down(judged: Progress, seen: Observation, rules: AlertSettings) -> tuple[Progress, Change | None]:
    """Count the off-delay of an open alert: clear it once nothing has spoken for it that long."""
    assert seen.score is not None
    assert seen.limit is not None
    assert judged.alert is not None
    # The more tags a score is of, the less it moves: of 20 tags it rests at 0.83 of the limit.
    quiet = seen.score < max(rules.off_ratio * seen.limit, seen.calm) or (
        # A tag alert says nothing of the score: only a machine's alert needs it well below the limit.
        judged.alert == "tag" and seen.score <= seen.limit
    )
    if not quiet or set(judged.told) & set(seen.faulty_tags):
        return msgspec.structs.replace(judged, calm_since=None), None
    since = seen.timestamp if judged.calm_since is None else judged.calm_since
    if seen.timestamp - since < rules.off_delay_s * 1e9:
        return msgspec.structs.replace(judged, calm_since=since), None
    return Progress(last=seen.timestamp, faulty_since=judged.faulty_since), Change("cleared", judged.alert)
