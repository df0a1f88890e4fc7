"""How much a publisher may have under way, and the codes that are no delivery."""

from typing import Literal

import msgspec

FAILURE_CODE_MIN = 128
NO_SUBSCRIBERS_CODE = 16
PACKET_TOO_LARGE_CODE = 149
PROBE_S_MIN = 1.0
PROBE_S_MAX = 5.0
RECEIPT_TIMEOUT_S_MAX = 120.0
RECONNECT_GRACE_S = 2.0

Trouble = Literal["", "no_subscribers", "refused", "silent"]


class UnderWay(msgspec.Struct):
    """A batch that was sent: `delivered` once the broker has acknowledged it."""

    size: int
    sent_at: float
    backlog: bool
    delivered: bool = False


class SendingLimits(msgspec.Struct, frozen=True):
    """How much may be under way.

    `unacknowledged_max`: batches without the broker's PUBACK (paho is fastest at 20).
    `unreceipted_*_max`: batches and bytes without the cloud's receipt; below Mosquitto's queue of 1,000, over
    which it drops messages that it has acknowledged. `live_*_max`: fresh batches held in memory.
    `backlog_share`: the part of all these places that old batches may take; and while there are both, one
    in `backlog_every` sends is an old one.
    """

    unacknowledged_max: int = 20
    unreceipted_batches_max: int = 800
    unreceipted_bytes_max: int = 32_000_000
    live_batches_max: int = 2_000
    live_bytes_max: int = 16_000_000
    fetch_batches_max: int = 64
    fetch_bytes_max: int = 4_000_000
    backlog_share: float = 0.5
    backlog_every: int = 8
    receipt_timeout_s: float = 10.0
