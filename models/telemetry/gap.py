"""Gaps: what a gateway did not acquire, why, and how much of it is known; they travel with its batches."""

from typing import Literal

import msgspec

GapReason = Literal[
    "connection_lost",  # the machine, or the way to it, was away
    "overflow",  # the machine's own queue overflowed before it was read
    "notifications_lost",  # messages of a subscription are missing, by their sequence numbers
    "cycles_missed",  # polls fell out because earlier ones took too long
    "polling_stopped",  # the outbox was full and its settings say to stop polling
    "memory_full",  # the disk took nothing and memory had no more room
    "gateway_down",  # the gateway itself did not run
    "clock_unknown",  # values whose time can no longer be told: power went before the clock was set
]

GAP_DETAIL_CHARS_MAX = 300
GAPS_MAX = 10_000


class Gap(msgspec.Struct, frozen=True, omit_defaults=True):
    """Nothing, or not everything, was acquired of `tags` between `first` and `last`, for `reason`.

    `first` is the last timestamp before and `last` the first one after (nanoseconds since 1970, both
    exclusive, `first` < `last`). `tags` empty means every tag of the machine. `values` counts what is known
    to be missing, None when nobody can know; `filled` counts what the machine's own history gave back
    later. `detail` is for a person.
    """

    first: int
    last: int
    reason: GapReason
    tags: list[str] = []
    values: int | None = None
    filled: int = 0
    detail: str = ""
