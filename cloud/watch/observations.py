"""What the watcher says of a machine at an instant: the input of alerts, the console and the mail."""

from typing import Literal

import msgspec

from models.telemetry import MachinePath

MachineState = Literal["learning", "judged", "cannot_judge", "unknown_running"]
"""`unknown_running`: it is run in no way that was learned. No alert then, and nothing is learned."""


class Contribution(msgspec.Struct, frozen=True, gc=False):
    """How far one tag is from what the model expects given the others: `sigma` is signed."""

    tag: str
    value: float
    expected: float
    sigma: float


class Observation(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The judgement of one machine at `timestamp` (event time, nanoseconds).

    `score` and `limit` are None unless `state` is "judged"; higher is stranger, above `limit` counts. Nine in
    ten rows of normal running score less than `calm`.
    `contributions` are the strongest first (three at most). `faulty_tags` names tags whose sensor cannot be
    believed, with the reason in words ("unchanged for 14 s"). `coverage` is the share of tags in use.
    `historical` marks what arrived too late to be news (backfill).
    """

    machine: MachinePath
    timestamp: int
    state: MachineState
    score: float | None = None
    limit: float | None = None
    coverage: float = 1.0
    contributions: list[Contribution] = []
    faulty_tags: dict[str, str] = {}
    reason: str = ""
    historical: bool = False
    calm: float = 0.0
