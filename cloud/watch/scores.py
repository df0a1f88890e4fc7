"""Scores on their way into the store: while it is away they wait, the oldest giving way."""

from collections import deque
from collections.abc import Sequence

import structlog

from cloud.stores import Block, StoreUnavailable, StoreWriter

UNWRITTEN_BLOCKS_MAX = 30_000
"""Three a machine and turn: those of 1,000 machines for ten seconds, some 40 MB."""
STORE_AWAY = (
    "the store does not answer: the event store_lost or store_needs_mending says why, and so does /healthz"
)
"""The ingester says the store's own words, once for the whole service."""

log = structlog.get_logger()


class ScoreQueue:
    """Holds blocks of scores until the store has committed them."""

    def __init__(self, writer: StoreWriter) -> None:
        self._writer = writer
        self._waiting: deque[Block] = deque(maxlen=UNWRITTEN_BLOCKS_MAX)
        self._away = False
        self.lost_blocks_total = 0

    @property
    def is_empty(self) -> bool:
        """Whether all that was put is stored."""
        return not self._waiting

    def put(self, blocks: Sequence[Block]) -> None:
        """Let blocks wait for the next write."""
        self.lost_blocks_total += max(0, len(self._waiting) + len(blocks) - UNWRITTEN_BLOCKS_MAX)
        self._waiting.extend(blocks)

    def write(self) -> None:
        """Store what waits; while the store is away it goes on waiting. Blocks."""
        if not self._waiting:
            return
        blocks = list(self._waiting)
        try:
            rejected = self._writer.write(blocks)
        except StoreUnavailable:
            if not self._away:
                self._away = True
                log.warning("scores_wait_for_store", reason=STORE_AWAY)
            return
        if self._away:
            self._away = False
            log.info("scores_stored_again", blocks=len(blocks), lost=self.lost_blocks_total)
        for rejection in rejected:
            machine = str(blocks[rejection.index].machine)
            log.warning("score_rejected", machine=machine, reason=rejection.reason)
        self._waiting.clear()
