"""What every store asks of frames: which readings are not good, and which frames can be one."""

from collections.abc import Sequence

from models.telemetry import Frame, quality

Code = tuple[int, int, int]
"""Position of the tag in the frame, row, OPC UA status code."""


def list_codes(frame: Frame) -> list[Code]:
    """Return the code of every reading that is not good; one without a number and without a code is bad."""
    found = []
    for position, (tag, column) in enumerate(frame.values.items()):
        said = frame.quality.get(tag, {})
        missing = {row for row, value in enumerate(column) if value is None or value != value}  # noqa: PLR0124  # only NaN differs from itself
        for row in sorted(missing | said.keys()):
            code = said.get(row, quality.BAD)
            if code != quality.GOOD:
                found.append((position, row, code))
            elif row in missing:
                found.append((position, row, quality.BAD))
    return found


def check_shapes(frames: Sequence[Frame]) -> None:
    """Raise `ValueError` for a column that is not as long as its timestamps: it can never be stored."""
    for frame in frames:
        rows = len(frame.timestamps)
        for tag, column in frame.values.items():
            if len(column) != rows:
                raise ValueError(f"{tag!r} has {len(column)} values: not as many as its {rows} timestamps")


def join_frames(frames: Sequence[Frame]) -> list[Frame]:
    """Return the frames with neighbours of the same tags in one, where time goes on and all is good."""
    if len(frames) < 2:
        return list(frames)
    runs: list[list[Frame]] = []
    for frame in frames:
        if runs and _continues(runs[-1][-1], frame):
            runs[-1].append(frame)
        else:
            runs.append([frame])
    return [run[0] if len(run) == 1 else _chain(run) for run in runs]


def _continues(last: Frame, frame: Frame) -> bool:
    return (
        bool(last.timestamps and frame.timestamps)
        and frame.timestamps[0] > last.timestamps[-1]
        and not frame.quality
        and not last.quality
        and frame.values.keys() == last.values.keys()
    )


def _chain(run: list[Frame]) -> Frame:
    return Frame(
        [instant for frame in run for instant in frame.timestamps],
        {tag: [value for frame in run for value in frame.values[tag]] for tag in run[0].values},
    )
