"""What the ledger's page and its JSON show: where every value is, by gateway and outbox."""

from cloud.console.shapes import Shape


class Share(Shape):
    """How much of what an outbox produced is in one place: `word` says which."""

    word: str
    values: int
    batches: int
    trouble: bool = False


class BatchRange(Shape):
    """Batches `first` to `last`, inclusive."""

    first: int
    last: int


class Drop(BatchRange):
    """Batches that the gateway gave up, with so many values, and why."""

    values: int
    reason: str


class GapReasonRow(Shape):
    """Everything that was not acquired for one reason. `values_missing`: as far as anybody can know."""

    reason: str
    words: str
    count: int
    seconds: float
    values_missing: int
    values_filled: int


class OutboxLedger(Shape):
    """The account of one outbox (gateway, epoch). `verdict` is complete, missing or unreported.

    `produced` is the sum of the `shares`. `missing` are the first ranges of batches that the gateway let go
    of and nobody has.
    """

    gateway: str
    epoch: str
    verdict: str
    produced: int
    batches_produced: int
    shares: list[Share]
    duplicates: int
    missing: list[BatchRange]
    missing_ranges: int
    drops: list[Drop]
    gaps: list[GapReasonRow]


class DeadLetterReason(Shape):
    """Dead letters of one reason; `waiting` were not replayed yet."""

    gateway: str
    reason: str
    letters: int
    waiting: int


class LetterDropRow(Shape):
    """Dead letters of a gateway that went for want of room, unreplayed: nobody has what they held."""

    gateway: str
    letters: int
    last_ms: int


class ShortDayRow(Shape):
    """A machine's day (UTC) of which the store lacks values that it said it had."""

    machine: str
    day: str
    stored: int
    found: int
    missing: int


class ReadBackSheet(Shape):
    """What the store says it has, held against our own count."""

    days_asked: int
    days_changed: int
    stored: int
    found: int
    missing: int
    days_short: int
    asked_ms: int | None
    short: list[ShortDayRow]


class LedgerSheet(Shape):
    """The whole ledger. `gaps_cut`: there are more gaps than were summed; `forewarn cloud verify` has all."""

    outboxes: list[OutboxLedger]
    dead_letters: list[DeadLetterReason]
    letter_drops: list[LetterDropRow]
    read_back: ReadBackSheet
    gaps_cut: bool
