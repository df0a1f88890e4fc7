"""The shelf of stores: what every store promises, and the list of them."""

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.errors import ForewarnError
from models.telemetry import Frame, MachinePath

Measurement = Literal["telemetry", "score", "expected", "contribution", "drift"]
"""`telemetry`: what machines said, one field per tag. `score`: fields score, limit, coverage.
`expected`, `contribution`: one field per tag, what the model expects (the tag's unit) and signed sigmas.
`drift`: one field per tag, its population stability index, a row a day."""


class StoreUnavailable(ForewarnError):
    """The database does not take or give anything now: keep what you have, wait, repeat.

    `retry_after_s` is the pause that the database asked for, None when it asked for none.
    """

    def __init__(self, words: str, retry_after_s: float | None = None) -> None:
        super().__init__(words)
        self.retry_after_s = retry_after_s


class StoreNeedsMending(StoreUnavailable):
    """It takes nothing before a person mends a setting or a right: alarm, keep, repeat slowly."""


class Block(msgspec.Struct, frozen=True):
    """Frames of one machine on their way into one measurement."""

    measurement: Measurement
    machine: MachinePath
    frames: list[Frame]


class Rejection(msgspec.Struct, frozen=True):
    """What of `blocks[index]` of a write can never be stored, and why; all the rest of that write is stored.

    `frames` hold exactly the values (and readings without one) that are refused; empty: the whole block is.
    """

    index: int
    reason: str
    frames: list[Frame] = []


class Table(msgspec.Struct, frozen=True):
    """Stored values of one machine in time order, repeats removed.

    `timestamps` is int64 nanoseconds, shape (n,), strictly ascending; `values[tag]` is float64, shape (n,),
    NaN where the tag has no value at that instant; `quality[tag]` is uint32, shape (n,), only for tags that
    have a code other than good anywhere.
    """

    timestamps: NDArray[np.int64]
    values: dict[str, NDArray[np.float64]]
    quality: dict[str, NDArray[np.uint32]]


class StoredMachine(msgspec.Struct, frozen=True):
    """A machine that the store knows, its tags, and the span of its values (nanoseconds)."""

    machine: MachinePath
    tags: list[str]
    first_ns: int
    last_ns: int


class StoreFindings(msgspec.Struct, frozen=True):
    """What a look through a whole store found, for a person."""

    lines: list[str]
    damaged: bool = False


class StoreWriter(Protocol):
    """Commits blocks. (measurement, machine, tag, timestamp) identifies a value: a repeat overwrites."""

    def write(self, blocks: Sequence[Block]) -> list[Rejection]:
        """Return once everything not listed as rejected is durable; raise `StoreUnavailable`. Blocks."""

    def close(self) -> None:
        """Let go of files and connections."""


@runtime_checkable
class NeedsUpkeep(Protocol):
    """A writer with work of its own beside the writes; some runner calls `tidy` again and again."""

    def tidy(self, now_ns: int) -> bool:
        """Merge or delete by age one bounded piece; return whether more is due now.

        Blocks; writes of other threads go on meanwhile. Raises `StoreUnavailable`.
        """


class StoreReader(Protocol):
    """Reads what is stored, also from another process than the writer's, while it writes."""

    def read(
        self,
        measurement: Measurement,
        machine: MachinePath,
        start_ns: int,
        end_ns: int,
        tags: Sequence[str] | None = None,
    ) -> Table:
        """Return the values of `tags` (None: all) in start_ns <= t < end_ns. Blocks; `StoreUnavailable`."""

    def list_machines(self) -> list[StoredMachine]:
        """Return every machine with telemetry, by path. Blocks; raise `StoreUnavailable`."""

    def close(self) -> None:
        """Let go of files and connections."""
