"""Every gateway's account for a person: what the ledger proves beside what the gateway last said."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy import Engine

from cloud.console.shapes import GatewayMachine, GatewayRow
from cloud.gateways import Gateways, GatewayStatus
from cloud.ingest.gaps import GapSum, list_gaps, sum_by_gateway
from cloud.ingest.ledger import EpochAccount, list_accounts
from models.telemetry import MachineStatus, quality

NS_PER_MS = 1_000_000
DAY_NS = 86_400_000_000_000
GAPS_SUMMED_MAX = 5_000
"""Beyond it, the newest of the day are counted: a page must not take seconds where a plant is in trouble."""


class GatewayAccounts:
    """Reads ledger and statuses from the records."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._statuses = Gateways(engine)

    def list_gateways(self) -> list[GatewayRow]:
        """Return one row per gateway, by name; raise `RecordsUnavailable`."""
        since_ns = time.time_ns() - DAY_NS
        gaps = list_gaps(self._engine, from_ns=since_ns, count_max=GAPS_SUMMED_MAX)
        return join_accounts(
            list_accounts(self._engine), self._statuses.list(), sum_by_gateway(gaps, since_ns)
        )


def join_accounts(
    accounts: Sequence[EpochAccount], statuses: Sequence[GatewayStatus], gaps: Mapping[str, GapSum]
) -> list[GatewayRow]:
    """Return one row per gateway that was ever heard of, all its outboxes summed."""
    by_gateway: Mapping[str, list[EpochAccount]] = defaultdict(list)
    for account in accounts:
        by_gateway[account.gateway].append(account)
    heard = {status.gateway: status for status in statuses}
    return [
        _make_row(gateway, by_gateway[gateway], heard.get(gateway), gaps.get(gateway, GapSum()))
        for gateway in sorted({*by_gateway, *heard})
    ]


def _make_row(
    gateway: str, accounts: list[EpochAccount], heard: GatewayStatus | None, gaps: GapSum
) -> GatewayRow:
    reported = any(account.sequence_last for account in accounts)
    status = heard.status if heard is not None else None
    return GatewayRow(
        gateway=gateway,
        state=status.state if status is not None else "unknown",
        heard_ms=heard.received_ns // NS_PER_MS if heard is not None else None,
        clock_synchronised=status.clock_synchronised if status is not None else None,
        version=status.version if status is not None else "",
        values_produced=sum(_count_produced(account) for account in accounts),
        values_stored=sum(account.values_stored for account in accounts),
        values_waiting=sum(account.values_waiting for account in accounts),
        values_dropped=sum(lost.values for account in accounts for lost in account.dropped),
        values_dead_lettered=sum(account.values_dead_lettered for account in accounts),
        batches_missing=sum(account.missing().total for account in accounts) if reported else None,
        machines=[
            GatewayMachine(
                machine=machine.machine,
                state=machine.state,
                since_ms=machine.since // NS_PER_MS,
                reason=machine.reason,
                bad_tags=[_say_bad(machine, tag) for tag in sorted(machine.bad_tags)],
            )
            for machine in (status.machines if status is not None else [])
        ],
        gaps_day=gaps.count,
        gap_s_day=gaps.seconds,
        warnings=status.warnings if status is not None else [],
    )


def _say_bad(machine: MachineStatus, tag: str) -> str:
    return f"{tag}: {machine.bad_reasons.get(tag) or quality.describe(machine.bad_tags[tag])}"


def _count_produced(account: EpochAccount) -> int:
    """Return how many values there are at least: what came since the gateway last told counts too."""
    return max(account.values_total, account.values_stored + account.values_dead_lettered)
