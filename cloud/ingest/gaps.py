"""Gaps as gateways recorded them: what was not acquired, when and why; each kept once however often told."""

import hashlib
from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Index,
    String,
    Table,
    Text,
    delete,
    func,
    or_,
    select,
)

from cloud.ingest.ledger import Key
from cloud.ingest.sorting import Accepted
from cloud.records import metadata
from cloud.transactions import begin_read, insert_into
from models.telemetry import Gap, MachinePath

GAP_ROWS_MAX = 200_000
"""Beyond it those that ended first go."""

gap_table = Table(
    "gap",
    metadata,
    Column("gateway", String(64), primary_key=True),
    Column("machine", String(260), primary_key=True),
    Column("first_ns", BigInteger, primary_key=True),
    Column("reason", String(40), primary_key=True),
    Column("tags_key", String(64), primary_key=True),
    Column("last_ns", BigInteger, nullable=False),
    Column("values_missing", BigInteger),
    Column("filled", BigInteger, nullable=False),
    Column("epoch", String(64), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("detail", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Index("gap_machine", "machine", "last_ns"),
    Index("gap_end", "last_ns"),
)

_KEY = ("gateway", "machine", "first_ns", "reason", "tags_key")
_tags_decoder = msgspec.json.Decoder(list[str])


class StoredGap(msgspec.Struct, frozen=True):
    """A gap, whose it is, and in which outbox it was recorded."""

    gateway: str
    epoch: str
    machine: str
    gap: Gap


def record_gaps(connection: Connection, stored: Iterable[Accepted], rows_max: int = GAP_ROWS_MAX) -> int:
    """Write down the gaps of batches, inside the caller's transaction; return how many old ones had to go.

    A gap that grew, or was filled, comes again with its `first` and `reason`: the later batch counts.
    """
    rows = [row for one in stored if one.batch.gaps for row in _make_rows(one)]
    if not rows:
        return 0
    statement = insert_into(connection, gap_table)
    new = statement.excluded
    newer = statement.on_conflict_do_update(
        index_elements=list(_KEY),
        set_={column.name: new[column.name] for column in gap_table.c if column.name not in _KEY},
        where=or_(new.epoch != gap_table.c.epoch, new.sequence >= gap_table.c.sequence),
    )
    connection.execute(newer, rows)
    return _drop_oldest(connection, rows_max)


def list_gaps(
    engine: Engine,
    *,
    gateway: str | None = None,
    machine: MachinePath | None = None,
    from_ns: int = 0,
    to_ns: int = 2**63 - 1,
    count_max: int = GAP_ROWS_MAX,
) -> list[StoredGap]:
    """Return the gaps that reach into from_ns..to_ns, the newest first; raise `RecordsUnavailable`."""
    query = select(gap_table).where(gap_table.c.last_ns > from_ns, gap_table.c.first_ns < to_ns)
    if gateway is not None:
        query = query.where(gap_table.c.gateway == gateway)
    if machine is not None:
        query = query.where(gap_table.c.machine == str(machine))
    query = query.order_by(gap_table.c.last_ns.desc(), gap_table.c.first_ns.desc()).limit(count_max)
    with begin_read(engine) as connection:
        return [
            StoredGap(
                row.gateway,
                row.epoch,
                row.machine,
                Gap(
                    row.first_ns,
                    row.last_ns,
                    row.reason,
                    _tags_decoder.decode(row.tags),
                    row.values_missing,
                    row.filled,
                    row.detail,
                ),
            )
            for row in connection.execute(query)
        ]


class GapSum(msgspec.Struct, frozen=True):
    """Some gaps: `seconds` that they cover together, values known to be missing, values history gave back."""

    count: int = 0
    seconds: float = 0.0
    values_missing: int = 0
    values_filled: int = 0


class GapAccount(msgspec.Struct, frozen=True):
    """All gaps of one outbox, in sum, by reason and by machine."""

    total: GapSum = GapSum()
    by_reason: dict[str, GapSum] = {}
    by_machine: dict[str, GapSum] = {}


def account_gaps(gaps: Sequence[StoredGap]) -> dict[Key, GapAccount]:
    """Return the gaps summed by (gateway, epoch)."""
    by_key: dict[Key, list[StoredGap]] = {}
    for one in gaps:
        by_key.setdefault((one.gateway, one.epoch), []).append(one)
    return {key: _sum_up(found) for key, found in by_key.items()}


def sum_by_gateway(gaps: Sequence[StoredGap], since_ns: int) -> dict[str, GapSum]:
    """Return the gaps summed by gateway; what of them lies before `since_ns` does not count."""
    by_gateway: dict[str, list[StoredGap]] = {}
    for one in gaps:
        cut = msgspec.structs.replace(one.gap, first=max(one.gap.first, since_ns))
        by_gateway.setdefault(one.gateway, []).append(msgspec.structs.replace(one, gap=cut))
    return {gateway: _add(found) for gateway, found in by_gateway.items()}


def count_covered_ns(spans: Iterable[tuple[int, int]]) -> int:
    """Return how many nanoseconds lie in any of the spans: what two of them share counts once."""
    covered = end = 0
    for first, last in sorted(spans):
        covered += max(0, last - max(first, end))
        end = max(end, last)
    return covered


def _sum_up(gaps: Sequence[StoredGap]) -> GapAccount:
    reasons = sorted({one.gap.reason for one in gaps})
    machines = sorted({one.machine for one in gaps})
    return GapAccount(
        _add(gaps),
        {reason: _add([one for one in gaps if one.gap.reason == reason]) for reason in reasons},
        {machine: _add([one for one in gaps if one.machine == machine]) for machine in machines},
    )


def _add(gaps: Sequence[StoredGap]) -> GapSum:
    spans: dict[str, list[tuple[int, int]]] = {}
    for one in gaps:
        spans.setdefault(one.machine, []).append((one.gap.first, one.gap.last))
    return GapSum(
        count=len(gaps),
        seconds=round(sum(count_covered_ns(found) for found in spans.values()) / 1e9, 3),
        values_missing=sum(one.gap.values or 0 for one in gaps),
        values_filled=sum(one.gap.filled for one in gaps),
    )


def _make_rows(one: Accepted) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for gap in one.batch.gaps:
        tags = msgspec.json.encode(sorted(gap.tags))
        rows.append(
            {
                "gateway": one.key[0],
                "machine": str(one.machine),
                "first_ns": gap.first,
                "reason": gap.reason,
                "tags_key": hashlib.sha256(tags).hexdigest() if gap.tags else "",
                "last_ns": gap.last,
                "values_missing": gap.values,
                "filled": gap.filled,
                "epoch": one.key[1],
                "sequence": one.sequence,
                "detail": gap.detail,
                "tags": tags.decode(),
            }
        )
    return rows


def _drop_oldest(connection: Connection, rows_max: int) -> int:
    excess = connection.execute(select(func.count()).select_from(gap_table)).scalar_one() - rows_max
    if excess <= 0:
        return 0
    ends = select(gap_table.c.last_ns).order_by(gap_table.c.last_ns).offset(excess - 1).limit(1)
    doomed = delete(gap_table).where(gap_table.c.last_ns <= connection.execute(ends).scalar_one())
    return connection.execute(doomed).rowcount
