"""What the console needs of the rest of the cloud, as small Protocols: the real parts fit them by shape."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from cloud.alerts import Alert, AlertEvent
from cloud.alerts.findings import Verdict
from cloud.console.ledger_shapes import LedgerSheet
from cloud.console.model_shapes import ModelSheet, PlantModels
from cloud.console.shapes import GapRow, GatewayRow, PartHealth
from cloud.machines import MachineCard
from cloud.notifiers.outbox import Notification
from cloud.watch.observations import MachineState
from models.telemetry import MachinePath


class StateRow(Protocol):
    """The newest judgement of one machine, as `cloud.watch.machine_states` keeps it."""

    @property
    def machine(self) -> MachinePath: ...
    @property
    def state(self) -> MachineState: ...
    @property
    def score(self) -> float | None: ...
    @property
    def limit(self) -> float | None: ...
    @property
    def coverage(self) -> float: ...
    @property
    def timestamp_ns(self) -> int: ...
    @property
    def since_ns(self) -> int: ...
    @property
    def reason(self) -> str: ...
    @property
    def faulty(self) -> dict[str, str]: ...
    @property
    def judged_s(self) -> float: ...
    @property
    def judged_from_ns(self) -> int | None: ...


class States(Protocol):
    """The newest judgement of every machine."""

    def list(self) -> Sequence[StateRow]:
        """Return one row per machine that was ever judged."""


class Alerts(Protocol):
    """The alert book."""

    def list_alerts(
        self, *, open_only: bool = False, machine: MachinePath | None = None, limit: int = 100
    ) -> Sequence[Alert]:
        """Return alerts, the newest first."""

    def get(self, alert_id: str) -> Alert:
        """Return one alert; raise `UnknownAlert`."""

    def list_events(self, alert_id: str) -> Sequence[AlertEvent]:
        """Return what happened to an alert, in order."""

    def acknowledge(self, alert_id: str, by: str) -> object:
        """Note who takes the alert on; raise `UnknownAlert`."""


class Notices(Protocol):
    """Who was told what."""

    def list_of(self, alert_id: str) -> Sequence[Notification]:
        """Return every notification of an alert, in the order of their making."""


class Cards(Protocol):
    """What people call machines and tags."""

    def of(self, machine: MachinePath) -> MachineCard:
        """Return the card of a machine, also of one that nobody described."""


class Gateways(Protocol):
    """The account of every gateway."""

    def list_gateways(self) -> Sequence[GatewayRow]:
        """Return one row per gateway, by name."""


class Gaps(Protocol):
    """What was not acquired."""

    def list_between(self, machine: MachinePath, from_ms: int, to_ms: int) -> Sequence[GapRow]:
        """Return the gaps of a machine that reach into the span, the newest first."""


class Ledgers(Protocol):
    """What became of every value that a gateway produced."""

    def read(self) -> LedgerSheet:
        """Return the accounts of all gateways, the dead letters and the read-back."""


class Models(Protocol):
    """What models know, and what the crew says of them."""

    def read(self, named: MachineCard, state: StateRow | None, refused: str) -> ModelSheet:
        """Return all that is known of a machine's model; `refused` says why a newer one is not in charge."""

    def sum_up(self, states: Sequence[StateRow]) -> PlantModels:
        """Return what the overview says of all models."""

    def start_afresh(self, machine: MachinePath, since_ns: int, by: str) -> bool:
        """Let a repaired machine learn anew; return whether a model was in charge."""

    def judge_alert(self, alert_id: str, verdict: Verdict) -> None:
        """Keep what somebody found."""

    def list_verdicts(self, alert_ids: Collection[str]) -> Mapping[str, Verdict]:
        """Return the verdicts on these alerts, by their id."""


class Parts(Protocol):
    """The health of the service's parts, and its counters."""

    def list_parts(self) -> Sequence[PartHealth]:
        """Return how each part fares now."""

    def render_metrics(self) -> bytes:
        """Return our own counters in Prometheus' text format."""
