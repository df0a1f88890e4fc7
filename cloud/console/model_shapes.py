"""What the console shows of a machine's model: how far it has learned, what it promises, how it has aged."""

from cloud.console.shapes import Shape


class LearningProgress(Shape):
    """How far learning has come: `share` of the good values that are wanted, 1 at most.

    `left_out` says what did not count, `trouble` why training failed though there was enough.
    """

    share: float
    words: str
    left_out: list[str]
    trouble: str


class ModelVersion(Shape):
    """One model of a machine. `first_ms` to `last_ms` is what it learned from.

    `in_charge_ms`: since when it is the current one, None where it is not. `trouble` says why it cannot be
    read; then all that follows from its card is empty.
    """

    name: str
    is_current: bool
    in_charge_ms: int | None
    trained_ms: int | None
    detector: str
    tags: int
    rows: int
    first_ms: int | None
    last_ms: int | None
    span: str
    limit: float | None
    is_provisional: bool
    trouble: str


class FalseAlarms(Shape):
    """False alarms a machine and month: what was promised, and what there were in the months watched.

    `asked` is what was wanted, where what was learned supports no rarer than is `promised`.

    `marked` false by somebody; `unreviewed` cleared, and nobody took them on: both count. `realised` is None
    before a tenth of a month was watched: a rate of less says nothing.
    """

    promised: float | None
    promised_words: str
    asked: float | None
    realised: float | None
    marked: int
    unreviewed: int
    months: float
    watched_words: str


class Forewarning(Shape):
    """The mean time from an alert to the failure, over `faults` confirmed ones whose failure is dated."""

    mean_s: float | None
    words: str
    faults: int


class TagKnowledge(Shape):
    """One tag: a grade (high, medium, low; empty while unknown) with its reason, and its drift.

    `psi` is the population stability index; `drift` is stable, drifting, refit advised, or empty.
    """

    tag: str
    title: str
    is_watched: bool
    grade: str
    grade_reason: str
    psi: float | None
    drift: str


class LastRefit(Shape):
    """What became of the newest challenger."""

    at_ms: int
    is_promoted: bool
    words: str


class PastEpisodes(Shape):
    """A span that was judged afterwards, as values came late. `peak` is score / limit at its strongest."""

    told_ms: int
    first_ms: int
    last_ms: int
    rows: int
    episodes: int
    peak: float | None
    peak_ms: int | None
    strange_first_ms: int | None
    strange_last_ms: int | None
    tags: list[str]
    words: str


class ModelSheet(Shape):
    """All that is known of a machine's model.

    `state` is learning, judged, provisional, unknown_running, cannot_judge or refused, and `reason` says why.
    `refused` says why the newest model could not take charge, also where an older one goes on judging.
    """

    machine: str
    state: str
    state_words: str
    reason: str
    refused: str
    learning: LearningProgress | None
    version: ModelVersion | None
    versions: list[ModelVersion]
    learns_since_ms: int | None
    false_alarms: FalseAlarms
    forewarning: Forewarning
    tags: list[TagKnowledge]
    grades: dict[str, int]
    drift: str
    drift_ms: int | None
    above_half: float | None
    refit: LastRefit | None
    next_refit_ms: int | None
    history: list[PastEpisodes]


class PlantModels(Shape):
    """What the overview says of all models: how far learning has come, by path, and the plant's figures."""

    learning: dict[str, LearningProgress]
    false_alarms: FalseAlarms
    forewarning: Forewarning
