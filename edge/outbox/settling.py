"""Makes batches of what waited for the clock: restamped where its boot is this one, else a recorded gap."""

from collections import Counter
from collections.abc import Sequence

import msgspec

from edge.outbox.held import HeldRow, HeldTable, Unknown
from edge.outbox.outbox import Outbox
from edge.outbox.stored import Coverage, Put
from edge.polling.clock_doubt import BUILT_NS
from edge.polling.clock_keeper import Lost, shift
from models.telemetry import Frame, Gap, MachinePath

NO_CLOCK = "power went before the clock was set: nobody knows when these values were read"
NO_ROOM = "the clock was not set for so long that older values had to make room for newer ones"


class Settled(msgspec.Struct, frozen=True):
    """What one transaction made of values that waited."""

    put: Put
    restamped: int = 0
    unknown: Sequence[Unknown] = ()


def settle_held(outbox: Outbox, boot: str, offset_ns: int, now_ns: int) -> Settled | None:
    """Move some of what waits into batches, in one transaction; None where nothing waits any more.

    `offset_ns`: what the wall clock, which is right, shows more than the steady one. Raises as `Outbox.put`.
    """
    rows = outbox.held.read(boot)
    if rows:
        return _restamp(outbox, boot, rows, offset_ns, now_ns)
    return _record(outbox, boot, offset_ns, now_ns)


def _restamp(outbox: Outbox, boot: str, rows: Sequence[HeldRow], offset_ns: int, now_ns: int) -> Settled:
    """Give rows of this boot their true time; a row that the disk has damaged leaves a gap."""
    held = outbox.held
    found: dict[MachinePath, list[Frame]] = {}
    damaged: Counter[MachinePath] = Counter()
    for row in rows:
        if row.frames:
            found.setdefault(row.machine, []).extend(shift(frame, offset_ns) for frame in row.frames)
        else:
            damaged[row.machine] += row.count
    since = held.read_since(boot) if damaged else {}
    unknown = [Unknown(machine, count, since.get(str(machine), 0)) for machine, count in damaged.items()]
    gaps = _list_unknown(outbox, unknown, now_ns)
    put = outbox.put(list(found.items()), now_ns, coverage=Coverage(gaps), also=lambda: held.delete(rows))
    held.forget(rows)
    return Settled(put, sum(row.count for row in rows if row.frames), unknown)


def _record(outbox: Outbox, boot: str, offset_ns: int, now_ns: int) -> Settled | None:
    """Record what had to go in this boot, and all of other boots, as gaps."""
    held = outbox.held
    lost, unknown = held.read_lost(boot), held.count_foreign(boot)
    if not lost and not unknown:
        return None
    gaps = [(one.machine, [_make_gap(one, offset_ns)]) for one in lost]
    gaps += _list_unknown(outbox, unknown, now_ns)
    put = outbox.put([], now_ns, coverage=Coverage(gaps), also=lambda: _forget_all(held, boot))
    held.count_anew()
    return Settled(put, unknown=unknown)


def _forget_all(held: HeldTable, boot: str) -> None:
    held.delete_lost(boot)
    held.delete_foreign(boot)


def _make_gap(lost: Lost, offset_ns: int) -> Gap:
    first, last = lost.first_ns + offset_ns - 1, lost.last_ns + offset_ns + 1
    return Gap(first, last, "memory_full", values=lost.count, detail=NO_ROOM)


def _list_unknown(
    outbox: Outbox, unknown: Sequence[Unknown], now_ns: int
) -> list[tuple[MachinePath, list[Gap]]]:
    """Return a gap per machine, from the last instant known before its values began to wait until now."""
    seen_ns = outbox.held.read_seen_ns()
    return [
        (
            one.machine,
            [
                Gap(
                    min(max(BUILT_NS, one.after_ns or seen_ns), now_ns - 2),
                    now_ns,
                    "clock_unknown",
                    values=one.count,
                    detail=NO_CLOCK,
                )
            ],
        )
        for one in unknown
    ]
