"""The first line of a recording: what parts its columns, where the time stands and where each tag. Pure."""

import csv
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from models.recordings.rejection import RecordingRejected

TIME_COLUMNS = ("timestamp", "datetime", "time", "date")
DELIMITERS = ",;\t"
NAME_CHARS_MAX = 128
"""As the name of a tag."""
NAMES_SHOWN_MAX = 20


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the time and each chosen column stand in a row.

    The first column of a file without a column named so is the time only if its cells are dates:
    `is_time_named` is False.
    """

    names: list[str]
    time_at: int
    is_time_named: bool
    places: dict[str, int]

    @property
    def time_name(self) -> str:
        """Return what the file calls its times."""
        return self.names[self.time_at]


def find_delimiter(heading: str) -> str:
    """Return what parts the columns: the comma, the semicolon or the tab, whichever stands there most."""
    return max(DELIMITERS, key=heading.count)


def choose_columns(
    file: str, heading: str, wanted: Sequence[str] | None, left_out: Collection[str]
) -> Layout:
    """Return where the `wanted` columns stand, in that order; None: all but those `left_out` (lower case).

    Raises `RecordingRejected` for a header that cannot be meant so.
    """
    cells = next(csv.reader([heading], delimiter=find_delimiter(heading)), [])
    names = [name.strip() for name in cells]
    if not any(names):
        raise RecordingRejected(f"{file}:1: has no header: it names a column of times, and one per tag")
    folded = [name.lower() for name in names]
    named = [folded.index(name) for name in TIME_COLUMNS if name in folded]
    time_at = named[0] if named else 0
    if wanted is None:
        chosen = [at for at in range(len(names)) if at != time_at and folded[at] not in left_out]
    else:
        chosen = [_find_column(file, names, name, time_at) for name in dict.fromkeys(wanted)]
    if not chosen:
        raise RecordingRejected(f"{file}:1: there is no column beside the times {_show(names)}")
    for at in chosen:
        _check_name(file, names, at)
    for at in (time_at, *chosen):
        _check_alone(file, names, names[at])
    return Layout(names, time_at, bool(named), {names[at]: at for at in chosen})


def reject_times(file: str, layout: Layout) -> RecordingRejected:
    """Return the error of a file in which nothing is named as a time, nor looks like one."""
    return RecordingRejected(f"{file}:1: no column of times: call it timestamp {_show(layout.names)}")


def _find_column(file: str, names: Sequence[str], name: str, time_at: int) -> int:
    if name not in names:
        near = get_close_matches(name, names, n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise RecordingRejected(f"{file}:1: there is no column {name!r}{hint} {_show(names)}")
    at = names.index(name)
    if at == time_at:
        raise RecordingRejected(f"{file}:1 column {at + 1}: {name!r} is the time, not a tag: leave it out")
    return at


def _check_name(file: str, names: Sequence[str], at: int) -> None:
    name = names[at]
    if not (0 < len(name) <= NAME_CHARS_MAX and name.isprintable()):
        raise RecordingRejected(
            f"{file}:1 column {at + 1}: {name[:80]!r} cannot be a tag, which has 1 to {NAME_CHARS_MAX} "
            "printable characters: name the column, or leave it out with --columns"
        )


def _check_alone(file: str, names: Sequence[str], name: str) -> None:
    if names.count(name) > 1:
        second = names.index(name, names.index(name) + 1)
        raise RecordingRejected(
            f"{file}:1 column {second + 1}: {name!r} stands twice: rename one of the columns"
        )


def _show(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > NAMES_SHOWN_MAX else ""
    return f"(found: {', '.join(map(repr, names[:NAMES_SHOWN_MAX]))}{more})"
