"""Merges groups written one after the other into groups in which each tag stands once, in time order."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cloud.stores.columns import NO_CODES, Group

Piece = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.uint32]]
"""Timestamps, numbers (NaN: none) and codes of one tag, all of one length."""


def merge_groups(groups: Sequence[Group]) -> list[Group]:
    """Return the same readings with repeats removed; `groups` stand in the order of writing.

    A later reading of the same tag and instant wins, except that a reading without a number never wins
    over one with a number: an OPC UA server that loses its device repeats the last instant as bad.
    """
    alike: dict[tuple[int, ...], list[Group]] = defaultdict(list)
    for group in groups:
        alike[group.tags].append(group)
    tags = [tag for key in alike for tag in key]
    if len(set(tags)) == len(tags):
        joined = [_join(members) for members in alike.values()]
        if None not in joined:
            return [group for group in joined if group is not None]
    return _merge_by_tag(groups)


def _join(groups: list[Group]) -> Group | None:
    """Return groups of the same tags end to end; None when their spans overlap."""
    if len(groups) == 1:
        return groups[0]
    groups = sorted(groups, key=lambda group: int(group.timestamps[0]))
    timestamps = np.concatenate([group.timestamps for group in groups])
    if not (timestamps[1:] > timestamps[:-1]).all():
        return None
    columns = np.concatenate([group.columns for group in groups], axis=1)
    codes, offset = [NO_CODES], 0
    for group in groups:
        if len(group.codes):
            codes.append(group.codes + np.array([0, offset, 0], np.uint32))
        offset += len(group.timestamps)
    return Group(timestamps, groups[0].tags, columns, np.concatenate(codes))


def _merge_by_tag(groups: Sequence[Group]) -> list[Group]:
    pieces: dict[int, list[Piece]] = defaultdict(list)
    for group in groups:
        codes = spread_codes(group)
        for position, tag in enumerate(group.tags):
            none = np.zeros(len(group.timestamps), np.uint32)
            pieces[tag].append((group.timestamps, group.columns[position], codes.get(position, none)))
    alike: dict[bytes, list[tuple[int, Piece]]] = defaultdict(list)
    for tag, written in pieces.items():
        settled = _settle(written)
        alike[settled[0].tobytes()].append((tag, settled))
    return [_gather(members) for members in alike.values()]


def spread_codes(group: Group) -> dict[int, NDArray[np.uint32]]:
    """Return for each position in `tags` with codes one code a row, 0 where it is good."""
    spread: dict[int, NDArray[np.uint32]] = {}
    for position in np.unique(group.codes[:, 0]):
        mine = group.codes[group.codes[:, 0] == position]
        spread[int(position)] = np.zeros(len(group.timestamps), np.uint32)
        spread[int(position)][mine[:, 1]] = mine[:, 2]
    return spread


def _settle(written: list[Piece]) -> Piece:
    """Return one reading for each instant of a tag."""
    timestamps = np.concatenate([piece[0] for piece in written])
    values = np.concatenate([piece[1] for piece in written])
    codes = np.concatenate([piece[2] for piece in written])
    order = np.lexsort((np.arange(timestamps.size), ~np.isnan(values), timestamps))
    timestamps = timestamps[order]
    last_of_instant = np.append(timestamps[1:] != timestamps[:-1], True)
    keep = order[last_of_instant]
    return timestamps[last_of_instant], values[keep], codes[keep]


def _gather(members: list[tuple[int, Piece]]) -> Group:
    codes = [NO_CODES]
    for position, (_, (_, _, said)) in enumerate(members):
        rows = np.flatnonzero(said)
        if rows.size:
            place = np.full(rows.size, position)
            codes.append(np.stack([place, rows, said[rows]], axis=1).astype(np.uint32))
    return Group(
        members[0][1][0],
        tuple(tag for tag, _ in members),
        np.array([values for _, (_, values, _) in members]),
        np.concatenate(codes),
    )
