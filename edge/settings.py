"""Settings of the edge agent: `edge.yaml`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from edge.drivers.shelf import MachineSettings, check_neighbours
from edge.drivers.tags import list_reported
from edge.polling.clock_doubt import FIRST_SYNC_S
from edge.sparkplug.names import check_letter_case, choose_group
from edge.sparkplug.settings import SparkplugSettings
from models.link import BrokerSettings
from models.settings import ConfigPath, Settings
from models.telemetry import PAYLOAD_BYTES_MAX, MachinePath
from models.telemetry.topics import SEGMENT, SEGMENT_WORDS

MACHINES_MAX = 1_000


class OutboxSettings(Settings):
    """Where values wait until the cloud has them, and how much may wait, for how long, and what then.

    `flush_s`: how often values go to the disk, so what a power cut can take at most. `payload_bytes_max`: no
    message is larger; 128,000 bytes pass every broker.
    """

    path: ConfigPath = Field(default=ConfigPath("outbox.sqlite"))
    bytes_max: int = Field(default=1_000_000_000, ge=1_000_000)
    age_max_s: float | None = Field(default=None, ge=60)
    when_full: Literal["drop_oldest", "stop_polling"] = "drop_oldest"
    flush_s: float = Field(default=1.0, ge=0.01, le=60)
    payload_bytes_max: int = Field(default=128_000, ge=4_000, le=PAYLOAD_BYTES_MAX)


class ClockSettings(Settings):
    """`first_sync_s`: so long after the computer's start values wait for its clock to be synchronised."""

    first_sync_s: float = Field(default=FIRST_SYNC_S, ge=0, le=600)


class HealthSettings(Settings):
    """Where `/healthz` and `/metrics` answer, to anybody who can reach it; `port: null` for nowhere."""

    host: str = Field(default="127.0.0.1", min_length=1)
    port: int | None = Field(default=9109, ge=1, le=65535)


def _check_segment(name: str) -> str:
    if not SEGMENT.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is not {SEGMENT_WORDS}")
    return name


def _check_unique(machines: tuple[MachineSettings, ...]) -> tuple[MachineSettings, ...]:
    first: dict[MachinePath, int] = {}
    for index, machine in enumerate(machines):
        if machine.path in first:
            raise ValueError(
                f"machines[{first[machine.path]}] and machines[{index}] both have the path {machine.path}: "
                "a machine stands once; put all its tags under one entry"
            )
        first[machine.path] = index
    check_neighbours(machines)
    return machines


Segment = Annotated[str, AfterValidator(_check_segment)]


class EdgeSettings(Settings):
    """One gateway: its name, its broker, its outbox, and the machines that it reads.

    `publish`: what it speaks: `sparkplug` beside Forewarn's wire or, with `custody: broker`, in its place.
    """

    gateway: Segment
    namespace: Segment = "forewarn"
    broker: BrokerSettings = BrokerSettings()
    # A dict, so that the default path too is resolved from the settings file's folder.
    outbox: OutboxSettings = Field(default_factory=dict, validate_default=True)
    clock: ClockSettings = ClockSettings()
    health: HealthSettings = HealthSettings()
    receipt_timeout_s: float = Field(default=10.0, ge=1, le=600)
    publish: Literal["forewarn", "sparkplug"] = "forewarn"
    sparkplug: SparkplugSettings = SparkplugSettings()
    machines: Annotated[
        tuple[MachineSettings, ...],
        Field(min_length=1, max_length=MACHINES_MAX),
        AfterValidator(_check_unique),
    ]

    @property
    def brokers(self) -> list[BrokerSettings]:
        """The brokers that this gateway connects to."""
        if self.publish == "forewarn":
            return [self.broker]
        own = [self.broker] if self.sparkplug.custody == "cloud" or self.sparkplug.broker is None else []
        return own + ([self.sparkplug.broker] if self.sparkplug.broker is not None else [])

    @field_validator("machines")
    @classmethod
    def _have_names_for_sparkplug(
        cls, machines: tuple[MachineSettings, ...], info: ValidationInfo
    ) -> tuple[MachineSettings, ...]:
        if info.data.get("publish") == "sparkplug" and "sparkplug" in info.data:
            choose_group(info.data["sparkplug"].group, (machine.path for machine in machines))
            for machine in machines:
                check_letter_case(machine.path, (tag.name for tag in list_reported(machine.tags)))
        return machines
