"""Cuts frames into parts of fewer tags or rows, with the quality of what is in them. Pure."""

from collections.abc import Collection, Iterable, Sequence

from models.telemetry import Column, Frame

Reading = tuple[str, int]
"""Tag and timestamp: which reading of a machine is meant."""


def take(frame: Frame, tags: Iterable[str], rows: Sequence[int]) -> Frame:
    """Return the readings of `tags` at the ascending `rows` of a frame."""
    place = {row: index for index, row in enumerate(rows)}
    values: dict[str, Column] = {}
    quality, repeats = {}, {}
    for tag in tags:
        column = frame.values[tag]
        values[tag] = [column[row] for row in rows]
        if codes := {place[row]: code for row, code in frame.quality.get(tag, {}).items() if row in place}:
            quality[tag] = codes
        if said := [place[row] for row in frame.repeats.get(tag, ()) if row in place]:
            repeats[tag] = said
    return Frame([frame.timestamps[row] for row in rows], values, quality, repeats)


def halve_tags(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Return two parts that together are `frames`, each with half of the tags; nothing for a lone tag."""
    tags = list(dict.fromkeys(tag for frame in frames for tag in frame.values))
    half = len(tags) // 2
    return [take_tags(frames, tags[:half]), take_tags(frames, tags[half:])] if half else []


def halve_rows(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Return two parts that together are `frames`, each with half of the rows; nothing for a lone row."""
    left = sum(len(frame.timestamps) for frame in frames) // 2
    if not left:
        return []
    first: list[Frame] = []
    second: list[Frame] = []
    for frame in frames:
        count = len(frame.timestamps)
        cut = min(left, count)
        left -= cut
        if cut:
            first.append(take(frame, frame.values, range(cut)))
        if cut < count:
            second.append(take(frame, frame.values, range(cut, count)))
    return [first, second]


def take_tags(frames: Iterable[Frame], tags: Collection[str]) -> list[Frame]:
    """Return the frames with those of `tags` that they have; one without any is left out."""
    parts = []
    for frame in frames:
        kept = [tag for tag in tags if tag in frame.values]
        if kept:
            parts.append(take(frame, kept, range(len(frame.timestamps))))
    return parts


def list_readings(frames: Iterable[Frame]) -> set[Reading]:
    """Return which readings the frames hold."""
    return {(tag, instant) for frame in frames for tag in frame.values for instant in frame.timestamps}


def part_readings(frames: Iterable[Frame], chosen: Collection[Reading]) -> tuple[list[Frame], list[Frame]]:
    """Return (the readings that are `chosen`, all others), each in as few frames as it takes."""
    inside: list[Frame] = []
    outside: list[Frame] = []
    for frame in frames:
        alike: dict[tuple[bool, tuple[int, ...]], list[str]] = {}
        for tag in frame.values:
            rows = tuple(row for row, instant in enumerate(frame.timestamps) if (tag, instant) in chosen)
            rest = tuple(sorted(set(range(len(frame.timestamps))) - set(rows)))
            alike.setdefault((True, rows), []).append(tag)
            alike.setdefault((False, rest), []).append(tag)
        for (wanted, rows), tags in alike.items():
            if rows:
                (inside if wanted else outside).append(take(frame, tags, rows))
    return inside, outside
