"""Merges many small frames of a machine into few large ones, so that the store writes large blocks. Pure."""

from collections.abc import Iterable, Sequence

import msgspec

from cloud.ingest.sorting import Accepted
from cloud.stores import Block
from models.telemetry import Frame, MachinePath


class Share(msgspec.Struct, frozen=True):
    """One machine's share of a write, and the batches it came in."""

    block: Block
    sources: list[Accepted]


def make_shares(accepted: Iterable[Accepted]) -> list[Share]:
    """Return one share per machine. The frames of the batches are used up: their lists may have grown."""
    sources: dict[MachinePath, list[Accepted]] = {}
    for one in accepted:
        sources.setdefault(one.machine, []).append(one)
    return [Share(_make_block(machine, ones), ones) for machine, ones in sources.items()]


def _make_block(machine: MachinePath, sources: Sequence[Accepted]) -> Block:
    return Block("telemetry", machine, merge_frames([frame for one in sources for frame in one.batch.frames]))


def merge_frames(frames: Sequence[Frame]) -> list[Frame]:
    """Return frames that say the same, in order, where neighbours of the same tags have become one.

    Frames that do not follow each other in time stay apart. The first list of each run grows in place:
    nothing is copied twice.
    """
    merged: list[Frame] = []
    last: Frame | None = None
    for frame in frames:
        if (
            last is None
            or frame.timestamps[0] <= last.timestamps[-1]
            or frame.values.keys() != last.values.keys()
        ):
            last = frame
            merged.append(frame)
            continue
        for tag, codes in frame.quality.items():
            rows = len(last.timestamps)
            last.quality.setdefault(tag, {}).update((row + rows, code) for row, code in codes.items())
        for tag, repeated in frame.repeats.items():
            last.repeats.setdefault(tag, []).extend(row + len(last.timestamps) for row in repeated)
        last.timestamps.extend(frame.timestamps)
        columns = last.values
        for tag, column in frame.values.items():
            grown = columns[tag]
            if not isinstance(grown, list):
                columns[tag] = grown = list(grown)
            grown.extend(column)
    return merged
