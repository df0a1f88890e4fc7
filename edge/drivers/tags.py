"""What the settings of every driver share: machine paths, tag names, units."""

from collections.abc import Container, Sequence
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    field_validator,
    model_validator,
)

from edge.vibration.settings import WaveformSettings
from models.settings import Settings
from models.telemetry import MachinePath, TopicRejected
from models.telemetry.batch import TAG_NAME_CHARS_MAX, TAGS_MAX

WAVEFORM_INTERVAL_S = 10.0
"""How often a waveform is read where its tag does not say: it is thousands of numbers each time."""


def _parse_path(value: Any) -> MachinePath:
    if isinstance(value, MachinePath):
        return value
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not site/area/line/machine")  # noqa: TRY004  # pydantic collects these
    try:
        return MachinePath.parse(value)
    except TopicRejected as error:
        raise ValueError(str(error)) from error


PathOfMachine = Annotated[
    MachinePath,
    PlainValidator(_parse_path, json_schema_input_type=str),
    PlainSerializer(str, return_type=str),
]
"""A `MachinePath`, written `site/area/line/machine`."""


def _check_printable(name: str) -> str:
    if not (0 < len(name) <= TAG_NAME_CHARS_MAX and name.isprintable()):
        raise ValueError(f"{name[:80]!r} is not 1 to {TAG_NAME_CHARS_MAX} printable characters")
    return name


class PlausibleSettings(Settings):
    """What the quantity can be at all; beyond it the value is kept, and marked uncertain."""

    low: float = Field(default=float("-inf"), allow_inf_nan=True)
    high: float = Field(default=float("inf"), allow_inf_nan=True)

    @field_validator("high")
    @classmethod
    def _is_above_low(cls, high: float, info: ValidationInfo) -> float:
        low = info.data.get("low")
        if low is not None and not low < high:
            raise ValueError(f"{high:g} is not above low ({low:g})")
        return high


class WhileRunningSettings(Settings):
    """The machine runs while its tag `tag` is above `above`."""

    tag: Annotated[str, AfterValidator(_check_printable)]
    above: float = Field(default=0.0, allow_inf_nan=False)


class TagSettings(Settings):
    """One measured quantity: its name, unique on its machine, and its unit. Drivers add where it is read.

    `deadband` (in the tag's unit) or `deadband_percent` (of the last reported value): what differs less is
    not reported, but for a repeat every `heartbeat_s`. `stuck_after_s`: unchanged for so long, and the
    machine runs, means that the sensor does not follow any more. `waveform`: it is many numbers at a time.
    """

    name: Annotated[str, AfterValidator(_check_printable)]
    unit: str = ""
    deadband: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    deadband_percent: float | None = Field(default=None, gt=0, le=100)
    heartbeat_s: float = Field(default=60.0, ge=1, le=86_400)
    plausible: PlausibleSettings | None = None
    stuck_after_s: float | None = Field(default=None, ge=1, le=31_536_000)
    while_running: WhileRunningSettings | None = None
    waveform: WaveformSettings | None = None

    @property
    def is_boolean(self) -> bool:
        """Whether the tag is 1 or 0 for true or false and nothing else, as far as settings tell."""
        return False

    @field_validator("deadband_percent")
    @classmethod
    def _is_the_only_deadband(cls, percent: float | None, info: ValidationInfo) -> float | None:
        if percent is not None and info.data.get("deadband") is not None:
            raise ValueError("there is a deadband already: say one of deadband and deadband_percent")
        return percent

    @field_validator("while_running")
    @classmethod
    def _goes_with_stuck(
        cls, running: WhileRunningSettings | None, info: ValidationInfo
    ) -> WhileRunningSettings | None:
        if running is not None and "stuck_after_s" in info.data and info.data["stuck_after_s"] is None:
            raise ValueError("while_running is for the watch on stuck values: add stuck_after_s")
        return running

    @field_validator("waveform")
    @classmethod
    def _has_no_rules_of_single_values(
        cls, waveform: WaveformSettings | None, info: ValidationInfo
    ) -> WaveformSettings | None:
        rules = ("deadband", "deadband_percent", "plausible", "stuck_after_s")
        if waveform is not None:
            for name in rules:
                if info.data.get(name) is not None:
                    raise ValueError(f"{name} is for single values, and this tag is a waveform: leave it out")
            if info.data.get("unit"):
                raise ValueError("a waveform's unit stands in here: leave out the tag's own")
        return waveform

    @model_validator(mode="before")
    @classmethod
    def _reads_waveforms_rarely(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("waveform") is not None and "interval_s" not in value:
            return {**value, "interval_s": WAVEFORM_INTERVAL_S}
        return value


class ReportedTag(NamedTuple):
    """A tag as it travels: one of the settings, or a feature of a waveform among them."""

    name: str
    unit: str
    is_boolean: bool


def list_reported(tags: Sequence[TagSettings]) -> list[ReportedTag]:
    """Return the tags under which a machine's values travel."""
    return [
        one
        for tag in tags
        for one in (
            [ReportedTag(tag.name, tag.unit, tag.is_boolean)]
            if tag.waveform is None
            else [ReportedTag(f"{tag.name}.{name}", unit, False) for name, unit in tag.waveform.units.items()]
        )
    ]


AnyTag = TypeVar("AnyTag", bound=TagSettings)


def _check_unique(tags: Sequence[AnyTag]) -> Sequence[AnyTag]:
    first: dict[str, int] = {}
    for index, tag in enumerate(tags):
        if tag.name in first:
            raise ValueError(
                f"tags[{first[tag.name]}] and tags[{index}] are both named {tag.name!r}: "
                "a name stands once on a machine"
            )
        first[tag.name] = index
    reported = {one.name: None for one in list_reported(tags)}
    known = ", ".join(list(reported)[:10])
    for index, tag in enumerate(tags):
        if tag.while_running is not None and tag.while_running.tag not in reported:
            raise ValueError(
                f"tags[{index}].while_running names {tag.while_running.tag!r}, which is no tag of this "
                f"machine. Known here: {known}"
            )
        if tag.waveform is not None:
            _check_features(f"tags[{index}]", tag.name, tag.waveform, first)
            speed = tag.waveform.speed
            if speed is not None and speed.tag is not None and speed.tag not in reported:
                raise ValueError(
                    f"tags[{index}].waveform.speed names {speed.tag!r}, which is no tag of this machine that "
                    f"is one number. Known here: {known}"
                )
    return tags


def _check_features(where: str, name: str, waveform: WaveformSettings, names: Container[str]) -> None:
    for feature in waveform.units:
        if f"{name}.{feature}" in names:
            raise ValueError(f"{where} is a waveform with a feature of that name: rename {name}.{feature}")
        _check_printable(f"{name}.{feature}")


Tags = Annotated[tuple[AnyTag, ...], Field(min_length=1, max_length=TAGS_MAX), AfterValidator(_check_unique)]
"""The tags of one machine, each name once."""
