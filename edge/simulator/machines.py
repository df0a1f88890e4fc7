"""The kinds of machine in the simulated plant: what each measures, how finely, and how its faults show."""

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from edge.simulator.physics import Character, Drive, State

MachineType = Literal["pump", "compressor", "motor"]
FaultKind = Literal["bearing", "cavitation", "misalignment", "stuck-tag"]
Chance = tuple[float, ...]

# Standard normal numbers that a step needs: two for the state, two for turbulence, the others one a sensor.
STATE_CHANCES = 2
TURBULENCE_CHANCES = 2
SENSORS_MAX = 8
CHANCES = STATE_CHANCES + TURBULENCE_CHANCES + SENSORS_MAX


class Sensor(msgspec.Struct, frozen=True):
    """How a quantity is measured: standard deviation of the noise, and the step of the last digit shown."""

    noise: float
    resolution: float


class Kind(msgspec.Struct, frozen=True):
    """One kind of machine: `look` gives the true quantities of a state, `sensors` how they are measured.

    `shows[fault]` are the tags in which the fault is seen, the clearest first.
    """

    character: Character
    sensors: Mapping[str, Sensor]
    shows: Mapping[FaultKind, tuple[str, ...]]
    look: Callable[[State, Drive, Chance], dict[str, float]]


def measure(kind: Kind, state: State, drive: Drive, chance: Chance) -> dict[str, float]:
    """Return what the sensors of a machine show: noisy, never below zero, rounded to their last digit.

    `chance` are the `CHANCES` numbers of the step.
    """
    turbulence = chance[STATE_CHANCES : STATE_CHANCES + TURBULENCE_CHANCES]
    noises = chance[STATE_CHANCES + TURBULENCE_CHANCES :]
    truth = kind.look(state, drive, turbulence)
    return {
        tag: _round(max(truth[tag] + sensor.noise * noise, 0.0), sensor.resolution)
        for (tag, sensor), noise in zip(kind.sensors.items(), noises, strict=False)
    }


def _round(value: float, resolution: float) -> float:
    return round(round(value / resolution) * resolution, 6)


def _shake(state: State, drive: Drive, calm: float, gain: float) -> float:
    """Return the vibration velocity in mm/s RMS: unbalance grows with speed squared, the rest with load."""
    unbalance = calm * state.speed**2 * (0.55 + 0.60 * state.load)
    faults = drive.faults
    worn = state.speed * (11.0 * faults.bearing + 7.5 * faults.cavitation + 11.0 * faults.misalignment)
    return (unbalance + gain * worn) * (1.0 + 0.04 * state.balance_wander)


def _load_current(state: State, drive: Drive, idle: float, nominal: float) -> float:
    """Return the current of the driving motor in A: magnetising part, load, and what rubbing costs."""
    rubbing = 1.0 + 0.05 * drive.faults.bearing + 0.10 * drive.faults.misalignment
    running = state.speed if drive.running else 0.0
    return running * (idle + (nominal - idle) * state.load * state.speed) * rubbing


def _look_at_pump(state: State, drive: Drive, turbulence: Chance) -> dict[str, float]:
    cavitation = drive.faults.cavitation
    flow_share = state.load * state.speed * (1.0 - 0.15 * cavitation)
    rough = cavitation**0.5
    suction = 1.50 - 0.25 * flow_share**2 - 0.95 * cavitation * state.speed
    head = state.speed**2 * (8.0 - 2.6 * state.load**2) * (1.0 - 0.12 * cavitation)
    return {
        "speed": 1480.0 * state.speed,
        "flow": 120.0 * flow_share * (1.0 + 0.09 * rough * turbulence[0]),
        "suction_pressure": suction,
        "discharge_pressure": suction + head * (1.0 + 0.07 * rough * turbulence[1]),
        "motor_current": _load_current(state, drive, 16.0, 58.0) * (1.0 - 0.06 * cavitation),
        "bearing_temperature": drive.ambient_c + state.bearing_rise_c,
        "vibration_velocity": _shake(state, drive, 2.3, 1.0) * (1.0 + 0.12 * rough * turbulence[0]),
        "ambient_temperature": drive.ambient_c,
    }


def _look_at_compressor(state: State, drive: Drive, _turbulence: Chance) -> dict[str, float]:
    worn = drive.faults.bearing
    return {
        "speed": 2960.0 * state.speed,
        "discharge_pressure": 7.6 * min(state.speed, 1.0) ** 2 - 0.9 * (state.load - 0.7) * state.speed,
        "discharge_temperature": drive.ambient_c + state.body_rise_c,
        "oil_pressure": state.speed * (3.4 - 0.012 * (state.bearing_rise_c - 40.0) - 0.25 * worn),
        "motor_current": _load_current(state, drive, 42.0, 138.0),
        "bearing_temperature": drive.ambient_c + state.bearing_rise_c,
        "vibration_velocity": _shake(state, drive, 2.0, 1.0),
        "ambient_temperature": drive.ambient_c,
    }


def _look_at_motor(state: State, drive: Drive, turbulence: Chance) -> dict[str, float]:
    return {
        "speed": 1500.0 * state.speed * (1.0 - 0.018 * state.load),
        "current": _load_current(state, drive, 9.0, 27.5),
        "voltage": 401.0 - 4.0 * state.load + 0.6 * turbulence[0],
        "winding_temperature": drive.ambient_c + state.body_rise_c,
        "bearing_temperature": drive.ambient_c + state.bearing_rise_c,
        "vibration_velocity": _shake(state, drive, 1.3, 0.6),
        "ambient_temperature": drive.ambient_c,
    }


_PUMP = Kind(
    character=Character(
        idle_speed=0.72,
        load_lag_s=75.0,
        bearing_rise_c=40.0,
        bearing_lag_s=500.0,
        body_rise_c=40.0,
        body_lag_s=500.0,
        bearing_wear_c=68.0,
        misalignment_c=30.0,
    ),
    sensors={
        "speed": Sensor(1.2, 1.0),
        "flow": Sensor(0.5, 0.1),
        "suction_pressure": Sensor(0.008, 0.01),
        "discharge_pressure": Sensor(0.02, 0.01),
        "motor_current": Sensor(0.25, 0.1),
        "bearing_temperature": Sensor(0.12, 0.1),
        "vibration_velocity": Sensor(0.05, 0.01),
        "ambient_temperature": Sensor(0.08, 0.1),
    },
    shows={
        "bearing": ("vibration_velocity", "bearing_temperature", "motor_current"),
        "cavitation": ("suction_pressure", "vibration_velocity", "flow", "discharge_pressure"),
        "misalignment": ("vibration_velocity", "bearing_temperature", "motor_current"),
        "stuck-tag": ("bearing_temperature",),
    },
    look=_look_at_pump,
)
_COMPRESSOR = Kind(
    character=Character(
        idle_speed=0.80,
        load_lag_s=60.0,
        bearing_rise_c=42.0,
        bearing_lag_s=540.0,
        body_rise_c=72.0,
        body_lag_s=420.0,
        bearing_wear_c=64.0,
        misalignment_c=28.0,
    ),
    sensors={
        "speed": Sensor(2.0, 1.0),
        "discharge_pressure": Sensor(0.02, 0.01),
        "discharge_temperature": Sensor(0.2, 0.1),
        "oil_pressure": Sensor(0.015, 0.01),
        "motor_current": Sensor(0.6, 0.1),
        "bearing_temperature": Sensor(0.12, 0.1),
        "vibration_velocity": Sensor(0.05, 0.01),
        "ambient_temperature": Sensor(0.08, 0.1),
    },
    shows={
        "bearing": ("vibration_velocity", "bearing_temperature", "oil_pressure", "motor_current"),
        "misalignment": ("vibration_velocity", "bearing_temperature", "motor_current"),
        "stuck-tag": ("oil_pressure",),
    },
    look=_look_at_compressor,
)
_MOTOR = Kind(
    character=Character(
        idle_speed=0.97,
        load_lag_s=60.0,
        bearing_rise_c=34.0,
        bearing_lag_s=480.0,
        body_rise_c=68.0,
        body_lag_s=600.0,
        bearing_wear_c=66.0,
        misalignment_c=42.0,
    ),
    sensors={
        "speed": Sensor(0.8, 1.0),
        "current": Sensor(0.12, 0.1),
        "voltage": Sensor(0.3, 0.1),
        "winding_temperature": Sensor(0.15, 0.1),
        "bearing_temperature": Sensor(0.12, 0.1),
        "vibration_velocity": Sensor(0.03, 0.01),
        "ambient_temperature": Sensor(0.08, 0.1),
    },
    shows={
        "bearing": ("vibration_velocity", "bearing_temperature", "current"),
        "misalignment": ("vibration_velocity", "bearing_temperature", "current"),
        "stuck-tag": ("winding_temperature",),
    },
    look=_look_at_motor,
)
KINDS: Mapping[MachineType, Kind] = {"pump": _PUMP, "compressor": _COMPRESSOR, "motor": _MOTOR}
