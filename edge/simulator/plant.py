"""What stands in the simulated plant: its machines, what people call them, and which faults begin when."""

from collections.abc import Sequence
from typing import Any, Literal, Self

import msgspec
from pydantic import Field, ValidationInfo, field_validator, model_validator

from edge.drivers.tags import PathOfMachine
from edge.simulator.machines import KINDS, FaultKind, Kind, MachineType
from edge.simulator.physics import Load
from edge.simulator.waveforms import TAG, SimulatedWaveformSettings
from models.settings import Settings
from models.telemetry import MachinePath

NAMESPACE = "urn:forewarn:plant"

Protocol = Literal["opcua", "modbus"]


class SimulatedTagSettings(Settings):
    """What people call a tag; `high` is the fixed alarm limit that a vendor would set for it."""

    unit: str = ""
    title: str = ""
    high: float | None = None


class LoadSettings(Settings):
    """What production asks of a machine: shares of nominal load, seconds of the plant's time."""

    low: float = Field(default=Load().low, ge=0.2, le=1.2)
    high: float = Field(default=Load().high, ge=0.2, le=1.2)
    dwell_s: float = Field(default=Load().dwell_s, gt=0)
    daily: float = Field(default=Load().daily, ge=0, le=0.2)
    wander: float = Field(default=Load().wander, ge=0, le=0.1)

    def build(self) -> Load:
        """Return the load for the physics."""
        return Load(self.low, self.high, self.dwell_s, self.daily, self.wander)


class SimulatedMachineSettings(Settings):
    """One machine: its kind, how it is reached, and the tags it shows."""

    path: PathOfMachine
    type: MachineType
    title: str = ""
    protocol: Protocol
    unit_id: int = Field(default=1, ge=1, le=247)
    load: LoadSettings = LoadSettings()
    tags: dict[str, SimulatedTagSettings] = Field(min_length=1)
    waveform: SimulatedWaveformSettings | None = None

    @field_validator("tags")
    @classmethod
    def _can_be_measured(
        cls, tags: dict[str, SimulatedTagSettings], info: ValidationInfo
    ) -> dict[str, SimulatedTagSettings]:
        kind = KINDS.get(info.data.get("type", ""))
        for tag in tags:
            if kind is not None and tag not in kind.sensors:
                known = ", ".join(kind.sensors)
                raise ValueError(f"a {info.data['type']} has no tag {tag!r}; it has {known}")
        return tags

    @field_validator("waveform")
    @classmethod
    def _knows_its_speed(
        cls, waveform: SimulatedWaveformSettings | None, info: ValidationInfo
    ) -> SimulatedWaveformSettings | None:
        if waveform is not None and "speed" not in info.data.get("tags", {"speed": None}):
            raise ValueError(f"{TAG} needs the tag speed: the bearing's lines move with it")
        return waveform

    @property
    def kind(self) -> Kind:
        """The physics of the machine."""
        return KINDS[self.type]


class FaultSettings(Settings):
    """A fault, and when: seconds of wall-clock time after the start of the simulation."""

    machine: PathOfMachine
    kind: FaultKind
    onset_s: float
    failure_s: float | None = None
    tag: str | None = None

    @model_validator(mode="after")
    def _ends_as_its_kind_does(self) -> Self:
        stuck = self.kind == "stuck-tag"
        if stuck and self.failure_s is not None:
            raise ValueError("a stuck tag breaks no machine: leave failure_s out")
        if not stuck and self.failure_s is None:
            raise ValueError(f"{self.kind} needs failure_s, when the machine fails")
        if self.failure_s is not None and self.failure_s <= self.onset_s:
            raise ValueError(f"failure_s ({self.failure_s:g}) must come after onset_s ({self.onset_s:g})")
        if self.tag is not None and not stuck:
            raise ValueError(f"tag goes with stuck-tag, not with {self.kind}")
        return self


class PortSettings(Settings):
    """Where a server listens, on this computer only; 0 takes a free port."""

    port: int = Field(ge=0, le=65535)


class PlantSettings(Settings):
    """A simulated plant. `time_scale` seconds of the plant pass in one second of the clock."""

    seed: int = 1
    time_scale: float = Field(default=60.0, gt=0, le=3600)
    step_s: float = Field(default=0.1, ge=0.01, le=1.0)
    update_s: float = Field(default=0.5, ge=0.01, le=60.0)
    opcua: PortSettings = PortSettings(port=4840)
    modbus: PortSettings = PortSettings(port=5020)
    machines: tuple[SimulatedMachineSettings, ...] = Field(min_length=1)
    faults: tuple[FaultSettings, ...] = ()

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        names = [machine.path.machine for machine in self.machines]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two machines are named {name}: their node ids would be the same")
        units = [machine.unit_id for machine in self.machines if machine.protocol == "modbus"]
        if len(units) > len(set(units)):
            raise ValueError(f"two Modbus machines have the same unit_id (they are {units})")
        for fault in self.faults:
            complaint = find_fault_mistake(fault, self.machines)
            if complaint is not None:
                raise ValueError(complaint)
        return self

    def changed(self, **values: Any) -> "PlantSettings":
        """Return the same plant with other values, checked again."""
        return PlantSettings.model_validate({**dict(self), **values})


def find_fault_mistake(fault: FaultSettings, machines: Sequence[SimulatedMachineSettings]) -> str | None:
    """Return what is wrong with a fault in a plant of these machines, or None."""
    machine = next((machine for machine in machines if machine.path == fault.machine), None)
    if machine is None:
        known = ", ".join(str(machine.path) for machine in machines)
        return f"{fault.kind}: the plant has no machine {fault.machine}; it has {known}"
    if fault.kind not in machine.kind.shows:
        return f"a {machine.type} has no {fault.kind}; it has {', '.join(machine.kind.shows)}"
    if fault.tag is not None and fault.tag not in machine.tags:
        return f"{machine.path} has no tag {fault.tag!r}; it has {', '.join(machine.tags)}"
    return None


def choose_machine(kind: str, machines: Sequence[SimulatedMachineSettings]) -> MachinePath | None:
    """Return the machine that shows a fault of this kind best, or None when no machine can have it."""
    preferred: MachineType = "motor" if kind == "misalignment" else "pump"
    able = [machine for machine in machines if kind in machine.kind.shows]
    able.sort(key=lambda machine: machine.type != preferred)
    return able[0].path if able else None


def listen(plant: PlantSettings) -> PlantSettings:
    """Return the plant with an accelerometer on the machine whose bearing's wear shows best."""
    path = choose_machine("bearing", plant.machines)
    machines = [
        machine.model_copy(update={"waveform": machine.waveform or SimulatedWaveformSettings()})
        if machine.path == path
        else machine
        for machine in plant.machines
    ]
    return plant.changed(machines=tuple(machines))


class FaultLabel(msgspec.Struct, frozen=True):
    """The truth about one fault, to judge a warning by: its onset, the failure, and the tags that show it."""

    machine: str
    kind: str
    onset_ns: int
    failure_ns: int | None
    tags: tuple[str, ...]


def find_stuck_tag(fault: FaultSettings, machine: SimulatedMachineSettings) -> str:
    """Return the tag that a stuck-tag fault freezes."""
    preferred = machine.kind.shows["stuck-tag"][0]
    return fault.tag or (preferred if preferred in machine.tags else next(iter(machine.tags)))


def label_faults(plant: PlantSettings, start_ns: int) -> list[FaultLabel]:
    """Return the faults of a run that began at `start_ns`, as labels in absolute time."""
    labels = []
    for fault in plant.faults:
        machine = next(machine for machine in plant.machines if machine.path == fault.machine)
        shown = [tag for tag in machine.kind.shows[fault.kind] if tag in machine.tags]
        if fault.kind == "stuck-tag":
            shown = [find_stuck_tag(fault, machine)]
        failure_ns = None if fault.failure_s is None else start_ns + round(fault.failure_s * 1e9)
        onset_ns = start_ns + round(fault.onset_s * 1e9)
        labels.append(FaultLabel(str(fault.machine), fault.kind, onset_ns, failure_ns, tuple(shown)))
    return labels
