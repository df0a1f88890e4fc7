"""What the settings of every driver share: machine paths, tag names, units."""

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator

from models.settings import Settings
from models.telemetry import MachinePath, TopicRejected
from models.telemetry.batch import TAG_NAME_CHARS_MAX, TAGS_MAX


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


class TagSettings(Settings):
    """One measured quantity: its name, unique on its machine, and its unit. Drivers add where it is read."""

    name: Annotated[str, AfterValidator(_check_printable)]
    unit: str = ""


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
    return tags


Tags = Annotated[tuple[AnyTag, ...], Field(min_length=1, max_length=TAGS_MAX), AfterValidator(_check_unique)]
"""The tags of one machine, each name once."""
