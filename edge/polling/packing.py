"""Frames made few and large before they travel, and cut where they would be too large."""

from collections.abc import Callable, Iterable
from itertools import chain

from models.errors import ForewarnError
from models.telemetry import Column, Frame

FRAMES_PER_BATCH_MAX = 5_000


class TooLarge(ForewarnError):
    """One value alone is larger than the broker's limit: nothing smaller can be made of it."""


def merge_frames(frames: Iterable[Frame]) -> list[Frame]:
    """Return the same values in as few frames as possible: those of equal tags follow each other as rows.

    A frame that does not begin after the rows it would follow begins a frame of its own.
    """
    frames = list(frames)
    if len({next(iter(frame.values), "") for frame in frames}) == len(frames):
        return frames  # each begins with another tag: none has the tags of another
    runs: list[list[Frame]] = []
    open_runs: dict[tuple[str, ...], list[Frame]] = {}
    for frame in frames:
        tags = tuple(frame.values)
        run = open_runs.get(tags)
        if run is None or frame.timestamps[0] <= run[-1].timestamps[-1]:
            run = open_runs[tags] = []
            runs.append(run)
        run.append(frame)
    return [run[0] if len(run) == 1 else _join(run) for run in runs]


def _join(run: list[Frame]) -> Frame:
    """Return one frame of frames whose tags are the same in the same order."""
    timestamps = list(chain.from_iterable([frame.timestamps for frame in run]))
    columns = zip(*[frame.values.values() for frame in run], strict=True)
    joined = map(list, map(chain.from_iterable, columns))
    values: dict[str, Column] = dict(zip(run[0].values, joined, strict=True))
    if not any(frame.quality or frame.repeats for frame in run):
        return Frame(timestamps, values)
    quality: dict[str, dict[int, int]] = {}
    repeats: dict[str, list[int]] = {}
    row = 0
    for frame in run:
        for tag, codes in frame.quality.items():
            quality.setdefault(tag, {}).update({row + at: code for at, code in codes.items()})
        for tag, rows in frame.repeats.items():
            repeats.setdefault(tag, []).extend(row + at for at in rows)
        row += len(frame.timestamps)
    return Frame(timestamps, values, quality, repeats)


def pack(
    frames: list[Frame], encode: Callable[[list[Frame]], bytes], bytes_max: int
) -> list[tuple[list[Frame], bytes]]:
    """Return the frames in as many payloads as are needed for each to have at most `bytes_max` bytes.

    `encode` makes the payload of some frames. Raises `TooLarge` when a single value does not fit.
    """
    if len(frames) <= FRAMES_PER_BATCH_MAX:
        payload = encode(frames)
        if len(payload) <= bytes_max:
            return [(frames, payload)]
    left, right = halve(frames)
    return pack(left, encode, bytes_max) + pack(right, encode, bytes_max)


def halve(frames: list[Frame]) -> tuple[list[Frame], list[Frame]]:
    """Cut between frames; where there is one, between its rows; where it has one, between its tags."""
    if len(frames) > 1:
        middle = len(frames) // 2
        return frames[:middle], frames[middle:]
    frame = frames[0]
    if len(frame.timestamps) > 1:
        middle = len(frame.timestamps) // 2
        return [_rows(frame, 0, middle)], [_rows(frame, middle, len(frame.timestamps))]
    tags = list(frame.values)
    if len(tags) == 1:
        raise TooLarge(
            f"one value of tag {tags[0]!r} is larger than the broker takes: raise its packet limit"
        )
    middle = len(tags) // 2
    return [_tags(frame, tags[:middle])], [_tags(frame, tags[middle:])]


def _rows(frame: Frame, start: int, end: int) -> Frame:
    values: dict[str, Column] = {tag: column[start:end] for tag, column in frame.values.items()}
    quality = {}
    for tag, codes in frame.quality.items():
        inside = {row - start: code for row, code in codes.items() if start <= row < end}
        if inside:
            quality[tag] = inside
    repeats = {}
    for tag, rows in frame.repeats.items():
        again = [row - start for row in rows if start <= row < end]
        if again:
            repeats[tag] = again
    return Frame(frame.timestamps[start:end], values, quality, repeats)


def _tags(frame: Frame, tags: list[str]) -> Frame:
    quality = {tag: frame.quality[tag] for tag in tags if tag in frame.quality}
    repeats = {tag: frame.repeats[tag] for tag in tags if tag in frame.repeats}
    return Frame(frame.timestamps, {tag: frame.values[tag] for tag in tags}, quality, repeats)
