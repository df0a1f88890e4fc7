"""Observations and alerts for tests: one pump whose bearing wears."""

from typing import Any

from cloud.alerts import Alert
from cloud.machines import CardBox, MachineCard, TagCard
from cloud.watch.observations import Contribution, Observation
from models.telemetry import MachinePath

PUMP = MachinePath.parse("riverside/hall-1/water/pump-7")
START_S = 1_795_400_000
SCRIPT = "<script>alert(1)</script>"
VIBRATION = Contribution("vibration_velocity", 5.83, 2.12, 7.2)
TEMPERATURE = Contribution("bearing_temperature", 82.13, 61.3, 5.0)


def observe(second: float, score: float | None = 0.2, **fields: Any) -> Observation:
    """Return what the watcher says at `second` (from the start) of a machine whose limit is 1."""
    machine = fields.pop("machine", PUMP)
    state = fields.pop("state", "judged" if score is not None else "cannot_judge")
    limit = None if score is None else 1.0
    timestamp = round((START_S + second) * 1e9)
    return Observation(machine, timestamp, state, score, limit, **fields)


def make_cards() -> CardBox:
    """Return the card of the pump as a plant would write it."""
    tags = {
        "bearing_temperature": TagCard(unit="°C", high=95.0),
        "vibration_velocity": TagCard(unit="mm/s", title="Vibration"),
    }
    return CardBox([MachineCard(path=PUMP, type="pump", title="Feed pump 7", tags=tags)])


def make_alert(**fields: Any) -> Alert:
    """Return a raised alert about the pump's bearing."""
    parts: dict[str, Any] = {
        "id": "20261123-031502-pump-7-3f9a2c",
        "machine": PUMP,
        "kind": "machine",
        "state": "raised",
        "raised_ns": START_S * 1_000_000_000,
        "score": 2.4,
        "limit": 1.0,
        "score_peak": 2.4,
        "contributions": [VIBRATION, TEMPERATURE],
        "faulty_tags": {},
        "tags": ["vibration_velocity", "bearing_temperature"],
        "summary": "Vibration 5.8 mm/s (expected 2.1, +7.2 sigma), given the other tags",
        "cause": "Bearing wear",
        "advice": ["Listen at both bearing housings.", "Check the oil."],
    }
    return Alert(**{**parts, **fields})
