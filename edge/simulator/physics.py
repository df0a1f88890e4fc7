"""How a rotating machine moves: load, heat, wander and wear as pure functions of time and seeded chance.

Time is in seconds of the plant, counted from the start of the simulation (negative before it); temperatures
are in °C; load and speed are shares of nominal.
"""

import math
from functools import lru_cache
from random import Random

import msgspec

DAY_S = 86_400.0
BLOCK_STEPS = 512
SEVERITY_CURVE = 2.5


class Load(msgspec.Struct, frozen=True):
    """What production asks of a machine: set points between `low` and `high`, kept `dwell_s` on average."""

    low: float = 0.55
    high: float = 0.95
    dwell_s: float = 1500.0
    daily: float = 0.04
    wander: float = 0.02


class Faults(msgspec.Struct, frozen=True):
    """How far each fault has come, 0 (none) to 1 (the machine fails)."""

    bearing: float = 0.0
    cavitation: float = 0.0
    misalignment: float = 0.0


class Drive(msgspec.Struct, frozen=True):
    """What acts on a machine during one step."""

    setpoint: float
    ambient_c: float
    running: bool
    faults: Faults


class Character(msgspec.Struct, frozen=True):
    """What makes one kind of machine differ from another in `advance`.

    `*_rise_c`: warmer than ambient at nominal load and speed; `body`: winding, oil or gas, as the kind has.
    """

    idle_speed: float
    load_lag_s: float
    bearing_rise_c: float
    bearing_lag_s: float
    body_rise_c: float
    body_lag_s: float
    bearing_wear_c: float
    misalignment_c: float


class State(msgspec.Struct, frozen=True):
    """A machine at one instant: what it remembers of its past."""

    load: float
    speed: float
    bearing_rise_c: float
    body_rise_c: float
    load_wander: float
    balance_wander: float


def lag(value: float, target: float, dt_s: float, tau_s: float) -> float:
    """Return `value` after it followed a constant `target` for `dt_s` with time constant `tau_s` (exact)."""
    return target + (value - target) * math.exp(-dt_s / tau_s)


def wander(value: float, normal: float, dt_s: float, tau_s: float, sigma: float) -> float:
    """Return the next value of a noise that forgets itself over `tau_s` and has standard deviation `sigma`.

    The exact step of an Ornstein-Uhlenbeck process (an AR(1) in discrete time); `normal` is one standard
    normal number.
    """
    kept = math.exp(-dt_s / tau_s)
    return value * kept + sigma * math.sqrt(1.0 - kept * kept) * normal


def grow_severity(time_s: float, onset_s: float, failure_s: float) -> float:
    """Return how far a fault has come: 0 until its onset, 1 from its failure on, convex in between.

    Wear feeds on itself: `(exp(k x) - 1) / (exp(k) - 1)` for the share x of the way.
    """
    share = (time_s - onset_s) / (failure_s - onset_s)
    share = min(max(share, 0.0), 1.0)
    return math.expm1(SEVERITY_CURVE * share) / math.expm1(SEVERITY_CURVE)


@lru_cache(maxsize=256)
def _draw_setpoint(stream: str, slot: int) -> tuple[float, float]:
    """Return a slot's level (0..1) and when within the slot (0..1) production asks for it."""
    chance = Random(f"{stream}/setpoint/{slot}")  # noqa: S311  # a simulation must repeat itself
    return chance.random(), chance.random()


def find_setpoint(load: Load, stream: str, time_s: float) -> float:
    """Return the load that production asks for at `time_s`; the same `stream` always asks the same."""
    slot, within = divmod(time_s / load.dwell_s, 1.0)
    level, instant = _draw_setpoint(stream, int(slot))
    if within < instant:
        level, _ = _draw_setpoint(stream, int(slot) - 1)
    daily = load.daily * math.sin(2 * math.pi * time_s / DAY_S)
    return load.low + (load.high - load.low) * level + daily


def find_ambient(time_s: float) -> float:
    """Return the temperature of the hall, which follows the day."""
    return 22.0 + 3.0 * math.sin(2 * math.pi * (time_s / DAY_S - 0.25))


def draw_noise(stream: str, block: int, width: int) -> list[tuple[float, ...]]:
    """Return the standard normal numbers of one block of steps, `width` a step.

    Numbers belong to a step, not to a run: history and live run over the same step see the same chance.
    """
    draw = Random(f"{stream}/noise/{block}").gauss  # noqa: S311  # a simulation must repeat itself
    return [tuple(draw(0.0, 1.0) for _ in range(width)) for _ in range(BLOCK_STEPS)]


def rest(load: Load) -> State:
    """Return a state to begin from; a machine forgets it within a few of its slowest time constants."""
    return State((load.low + load.high) / 2, 1.0, 25.0, 25.0, 0.0, 0.0)


def advance(
    character: Character, load: Load, state: State, drive: Drive, *, chance: tuple[float, float], dt_s: float
) -> State:
    """Return the state one step of `dt_s` later."""
    load_wander = wander(state.load_wander, chance[0], dt_s, 240.0, load.wander)
    balance_wander = wander(state.balance_wander, chance[1], dt_s, 150.0, 1.0)
    asked = max(drive.setpoint + load_wander, 0.0) if drive.running else 0.0
    speed_asked = character.idle_speed + (1.0 - character.idle_speed) * asked if drive.running else 0.0
    now_load = lag(state.load, asked, dt_s, character.load_lag_s if drive.running else 15.0)
    speed = lag(state.speed, speed_asked, dt_s, character.load_lag_s if drive.running else 60.0)
    friction = speed * speed * (0.30 + 0.70 * now_load)
    worn = speed * (
        character.bearing_wear_c * drive.faults.bearing
        + character.misalignment_c * drive.faults.misalignment
        + 6.0 * drive.faults.cavitation
    )
    bearing = character.bearing_rise_c * friction + worn
    body = character.body_rise_c * (0.25 * speed * speed + 0.75 * now_load * now_load) + 0.15 * worn
    return State(
        load=now_load,
        speed=speed,
        bearing_rise_c=lag(state.bearing_rise_c, bearing, dt_s, character.bearing_lag_s),
        body_rise_c=lag(state.body_rise_c, body, dt_s, character.body_lag_s),
        load_wander=load_wander,
        balance_wander=balance_wander,
    )
