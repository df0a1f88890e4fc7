"""Finds what a database refuses for good, by halving, and lets it store everything else."""

from collections.abc import Callable, Sequence

import msgspec

from cloud.stores import Block, Rejection, slicing
from cloud.stores.lines import encode_block
from models.telemetry import Frame

PROBES_MAX = 500
"""Requests of one write that only look for refused readings. Beyond that what is refused together stays
together: a write that is bad throughout must not keep all others waiting."""
REASONS_MAX = 3

Post = Callable[[bytes], None]


class Refused(Exception):
    """The database will never take these lines as they are."""


class TooLarge(Refused):
    """The database takes no request of this size."""


class Part(msgspec.Struct, frozen=True):
    """A block of a write, or a piece of it, with its lines."""

    index: int
    block: Block
    lines: bytes


class Search:
    """Stores parts through `post`, and collects what of them is refused."""

    def __init__(self, post: Post, probes_max: int) -> None:
        self._post = post
        self._probes_left = probes_max
        self._refused: dict[int, list[Frame]] = {}
        self._reasons: dict[int, list[str]] = {}

    def store(self, parts: Sequence[Part]) -> None:
        """Store what can be stored of `parts`; raise what `post` raises but for `Refused`."""
        try:
            self._post(b"".join([part.lines for part in parts]))
        except Refused as refusal:
            smaller = self._halve(parts, refusal)
            if not smaller:
                self._note(parts[0], str(refusal))
            for half in smaller:
                self.store(half)

    def _halve(self, parts: Sequence[Part], refusal: Refused) -> list[Sequence[Part]]:
        if len(parts) > 1:
            half = len(parts) // 2
            return [parts[:half], parts[half:]]
        part, frames = parts[0], parts[0].block.frames
        if isinstance(refusal, TooLarge):
            # Whole lines as long as there are two: each one cut repeats its beginning.
            halves = slicing.halve_rows(frames) or slicing.halve_tags(frames)
        elif self._probes_left < 2:
            return []
        else:
            self._probes_left -= 2
            # Most refusals are about one tag: it is found before its rows are.
            halves = slicing.halve_tags(frames) or slicing.halve_rows(frames)
        pieces = [Block(part.block.measurement, part.block.machine, half) for half in halves]
        return [[Part(part.index, piece, encode_block(piece))] for piece in pieces]

    def _note(self, part: Part, reason: str) -> None:
        self._refused.setdefault(part.index, []).extend(part.block.frames)
        reasons = self._reasons.setdefault(part.index, [])
        if reason not in reasons and len(reasons) < REASONS_MAX:
            reasons.append(reason)

    def list_rejections(self) -> list[Rejection]:
        """Return what was refused, by block."""
        return [
            Rejection(index, "; ".join(self._reasons[index]), frames)
            for index, frames in sorted(self._refused.items())
        ]


def store_rest(parts: Sequence[Part], post: Post) -> list[Rejection]:
    """Store `parts` but for the readings that the database refuses, and return these.

    A reading is one line of one field: where a line has fields of many tags, only those at fault stay out.
    """
    search = Search(post, PROBES_MAX)
    search.store(parts)
    return search.list_rejections()
