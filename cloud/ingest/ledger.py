"""The ledger: which batches of each gateway are stored, dead-lettered, waiting, dropped or missing."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Integer,
    Row,
    String,
    Table,
    Text,
    bindparam,
    select,
    tuple_,
)

from cloud.records import metadata
from cloud.transactions import begin_read, begin_write, insert_into
from models.telemetry import DroppedRange, SequenceRanges, Status

ISLANDS_MAX = 10_000
"""Ranges kept per gateway and epoch. A batch that would open one more stays unrecorded: `verify` calls it
missing although it is stored, which errs on the honest side."""

Key = tuple[str, str]
"""(gateway, epoch)"""

Settled = Literal["stored", "dead_lettered"]

ledger_table = Table(
    "ledger",
    metadata,
    Column("gateway", String(64), primary_key=True),
    Column("epoch", String(64), primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("values_stored", BigInteger, nullable=False),
    Column("values_dead_lettered", BigInteger, nullable=False),
    Column("duplicates", BigInteger, nullable=False),
    Column("status_ns", BigInteger, nullable=False),
    Column("sequence_last", BigInteger, nullable=False),
    Column("values_total", BigInteger, nullable=False),
    Column("values_waiting", BigInteger, nullable=False),
    Column("stored", Text, nullable=False),
    Column("dead_lettered", Text, nullable=False),
    Column("waiting", Text, nullable=False),
    Column("dropped", Text, nullable=False),
)

_update = (
    ledger_table.update()
    .where(ledger_table.c.gateway == bindparam("of_gateway"), ledger_table.c.epoch == bindparam("of_epoch"))
    .values({c.name: bindparam(c.name) for c in ledger_table.c if c.name not in ("gateway", "epoch")})
)
_ranges_decoder = msgspec.json.Decoder(list[tuple[int, int]])
_dropped_decoder = msgspec.json.Decoder(list[DroppedRange])


class EpochAccount(msgspec.Struct):
    """What is known of one outbox (gateway, epoch). `sequence_last` and after it: what the gateway says."""

    gateway: str
    epoch: str
    revision: int = 0
    values_stored: int = 0
    values_dead_lettered: int = 0
    duplicates: int = 0
    status_ns: int = 0
    sequence_last: int = 0
    values_total: int = 0
    values_waiting: int = 0
    stored: SequenceRanges = msgspec.field(default_factory=SequenceRanges)
    dead_lettered: SequenceRanges = msgspec.field(default_factory=SequenceRanges)
    waiting: SequenceRanges = msgspec.field(default_factory=SequenceRanges)
    dropped: list[DroppedRange] = []

    def missing(self) -> SequenceRanges:
        """Return the batches that the gateway let go of and nobody has: it must be empty."""
        if self.sequence_last == 0:
            return SequenceRanges()
        produced = SequenceRanges([(1, self.sequence_last)])
        dropped = SequenceRanges((lost.first, lost.last) for lost in self.dropped)
        return produced.minus(self.stored).minus(self.dead_lettered).minus(self.waiting).minus(dropped)


class EpochChange(msgspec.Struct):
    """What one write adds to an account: (sequence, values) each, and the gateway's newest word."""

    stored: list[tuple[int, int]] = []
    dead_lettered: list[tuple[int, int]] = []
    dead_parts: dict[int, int] = {}
    """By sequence of a batch in `stored`: how many values of it went to the dead letters instead."""
    replayed: list[tuple[int, int]] = []
    """Excerpts among the dead letters that are stored now: the rest of their batches was before."""
    replayed_whole: list[tuple[int, int]] = []
    """Batches that were dead letters as a whole and are stored now; one may have come again meanwhile."""
    duplicates: int = 0
    status: Status | None = None


class Ledger:
    """Accounts in memory, written through; several processes may keep one ledger in one database.

    Every write reads the rows it changes inside its transaction, so what another process wrote stays.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._accounts: dict[Key, EpochAccount] = {}

    @property
    def engine(self) -> Engine:
        """The records that it is kept in."""
        return self._engine

    def load(self) -> None:
        """Read every account; raise `RecordsUnavailable`."""
        self._accounts = {
            (account.gateway, account.epoch): account for account in list_accounts(self._engine)
        }

    def look_up(self, key: Key, sequence: int) -> Settled | None:
        """Return what became of a batch, as far as this process knows."""
        account = self._accounts.get(key)
        if account is None:
            return None
        if sequence in account.stored:
            return "stored"
        return "dead_lettered" if sequence in account.dead_lettered else None

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Run the body, with its calls of `record`, as one transaction; raise `RecordsUnavailable`."""
        committed = False
        try:
            with begin_write(self._engine) as connection:
                yield connection
            committed = True
        finally:
            if not committed:  # memory may be ahead of the database: read anew what is needed
                self._accounts.clear()

    def record(self, connection: Connection, changes: Mapping[Key, EpochChange]) -> int:
        """Add `changes` to their accounts, inside the transaction of `begin`.

        Returns how many of the batches stored somebody else had recorded as stored before.
        """
        if not changes:
            return 0
        repeats = 0
        self._refresh(connection, list(changes))
        for key, change in changes.items():
            before = self._accounts[key].duplicates + change.duplicates
            apply_change(self._accounts[key], change)
            repeats += self._accounts[key].duplicates - before
        connection.execute(_update, [_to_row(self._accounts[key]) for key in changes])
        return repeats

    def _refresh(self, connection: Connection, keys: list[Key]) -> None:
        """Make the accounts of `keys` equal to their rows, which now are there and locked."""
        revisions = _read_revisions(connection, keys)
        absent = [key for key in keys if key not in revisions]
        if absent:
            rows = [_to_row(EpochAccount(*key)) for key in absent]
            connection.execute(insert_into(connection, ledger_table).on_conflict_do_nothing(), rows)
            revisions |= _read_revisions(connection, absent)
        stale = [
            key for key in keys if key not in self._accounts or self._accounts[key].revision != revisions[key]
        ]
        if stale:
            found = connection.execute(select(ledger_table).where(_is_one_of(stale)))
            self._accounts.update(((row.gateway, row.epoch), _to_account(row)) for row in found)


def apply_change(account: EpochAccount, change: EpochChange) -> None:
    """Add `change` to `account`. A batch counts once, however often it came; stored beats dead-lettered."""
    account.revision += 1
    account.duplicates += change.duplicates
    for sequence, values in change.stored:
        if sequence in account.stored:
            account.duplicates += 1
        elif _may_record(account.stored, sequence):
            account.stored.add(sequence)
            account.values_stored += values
            if sequence in account.dead_lettered:  # whole, and it came again: so much of it is good now
                account.values_dead_lettered = max(0, account.values_dead_lettered - values)
            else:
                account.values_dead_lettered += change.dead_parts.get(sequence, 0)
    for sequence, values in change.dead_lettered:
        if sequence not in account.dead_lettered and _may_record(account.dead_lettered, sequence):
            account.dead_lettered.add(sequence)
            account.values_dead_lettered += values
    whole = [one for one in change.replayed_whole if one[0] not in account.stored]
    _apply_replays(account, change.replayed + whole)
    if (change.stored or change.replayed or whole) and len(account.dead_lettered):
        account.dead_lettered = account.dead_lettered.minus(account.stored)
    if change.status is not None and change.status.timestamp >= account.status_ns:
        _apply_status(account, change.status)


def _apply_replays(account: EpochAccount, replayed: Sequence[tuple[int, int]]) -> None:
    for sequence, values in replayed:
        account.values_stored += values
        account.values_dead_lettered = max(0, account.values_dead_lettered - values)
        if sequence not in account.stored and _may_record(account.stored, sequence):
            account.stored.add(sequence)


def _may_record(ranges: SequenceRanges, sequence: int) -> bool:
    return len(ranges) < ISLANDS_MAX or sequence - 1 in ranges or sequence + 1 in ranges


def _apply_status(account: EpochAccount, status: Status) -> None:
    account.status_ns = status.timestamp
    account.sequence_last = max(account.sequence_last, status.sequence_last)
    account.values_total = max(account.values_total, status.values_total)
    account.values_waiting = status.waiting_values
    account.waiting = SequenceRanges(status.waiting)
    # A gateway may stop to repeat old losses, and a loss may have grown since it was first told.
    told = SequenceRanges((lost.first, lost.last) for lost in status.dropped)
    kept = [lost for lost in account.dropped if lost.first not in told or lost.last not in told]
    account.dropped = kept + status.dropped


def list_accounts(engine: Engine, gateway: str | None = None) -> list[EpochAccount]:
    """Return the accounts (of one gateway), by gateway and epoch; raise `RecordsUnavailable`."""
    query = select(ledger_table).order_by(ledger_table.c.gateway, ledger_table.c.epoch)
    if gateway is not None:
        query = query.where(ledger_table.c.gateway == gateway)
    with begin_read(engine) as connection:
        return [_to_account(row) for row in connection.execute(query)]


def _is_one_of(keys: Sequence[Key]) -> Any:
    return tuple_(ledger_table.c.gateway, ledger_table.c.epoch).in_(keys)


def _read_revisions(connection: Connection, keys: Sequence[Key]) -> dict[Key, int]:
    columns = (ledger_table.c.gateway, ledger_table.c.epoch, ledger_table.c.revision)
    found = connection.execute(select(*columns).where(_is_one_of(keys)).with_for_update())
    return {(gateway, epoch): revision for gateway, epoch, revision in found}


def _to_account(row: Row[Any]) -> EpochAccount:
    facts = dict(row._mapping)  # noqa: SLF001  # the public way to a row by column names
    for name in ("stored", "dead_lettered", "waiting"):
        facts[name] = SequenceRanges(_ranges_decoder.decode(facts[name]))
    facts["dropped"] = _dropped_decoder.decode(facts["dropped"])
    return EpochAccount(**facts)


def _to_row(account: EpochAccount) -> dict[str, Any]:
    facts = {name: getattr(account, name) for name in account.__struct_fields__}
    for name in ("stored", "dead_lettered", "waiting"):
        facts[name] = msgspec.json.encode(list(facts[name])).decode()
    facts["dropped"] = msgspec.json.encode(account.dropped).decode()
    facts |= {"of_gateway": account.gateway, "of_epoch": account.epoch}
    return facts
