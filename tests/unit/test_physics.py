"""The simulated plant's mathematics: repeatable, lagging, wearing out, and healthy while it should be."""

import math
import statistics
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from edge.simulator.physics import Load, find_setpoint, grow_severity, lag, wander
from edge.simulator.plant import FaultSettings, PlantSettings, choose_machine, label_faults
from edge.simulator.simulation import HistoryRejected, Simulation, begin, simulate_past, write_past
from models.settings import SettingsError, load_settings
from models.telemetry import MachinePath

PLANT_FILE = Path(__file__).parent.parent.parent / "configs" / "demo" / "plant.yaml"
ONSET_S, FAILURE_S = 30.0, 100.0
FAULTS = [
    ("pump-7", "bearing"),
    ("pump-7", "cavitation"),
    ("pump-7", "misalignment"),
    ("compressor-2", "bearing"),
    ("compressor-2", "misalignment"),
    ("motor-3", "bearing"),
    ("motor-3", "misalignment"),
]


@pytest.fixture(scope="module")
def plant() -> PlantSettings:
    """The plant of the demo."""
    return load_settings(PLANT_FILE, PlantSettings)


@pytest.fixture(scope="module")
def past(plant: PlantSettings) -> dict[str, dict[str, list[float]]]:
    """Half an hour of every machine's healthy past, twice a second."""
    rows = [values for _, values in simulate_past(plant, 1800.0, 0.5)]
    return {
        machine.path.machine: {tag: [row[index][tag] for row in rows] for tag in machine.tags}
        for index, machine in enumerate(plant.machines)
    }


def find_path(plant: PlantSettings, name: str) -> MachinePath:
    """Return the path of the machine called `name`."""
    return next(machine.path for machine in plant.machines if machine.path.machine == name)


def run(
    plant: PlantSettings, name: str, first_s: float, last_s: float
) -> list[tuple[float, dict[str, float]]]:
    """Return (time, values) of one machine, twice a second."""
    steps = range(round(first_s / plant.step_s), round(last_s / plant.step_s), 5)
    machine = next(machine for machine in plant.machines if machine.path.machine == name)
    simulation = Simulation(plant, machine, steps.start)
    shown = []
    for step in steps:
        simulation.advance_to(step)
        shown.append((step * plant.step_s, simulation.measure()))
    return shown


def break_machine(plant: PlantSettings, name: str, kind: str) -> PlantSettings:
    """Return the plant with one fault from 30 s to 100 s."""
    failure_s = None if kind == "stuck-tag" else FAILURE_S
    fault = FaultSettings(machine=find_path(plant, name), kind=kind, onset_s=ONSET_S, failure_s=failure_s)
    return plant.changed(faults=(fault,))


def test_a_first_order_lag_is_exact_for_any_step() -> None:
    """After one time constant 63.2 % of the way is done, in one step or in a thousand."""
    value = 0.0
    for _ in range(1000):
        value = lag(value, 10.0, 0.48, 480.0)
    assert value == pytest.approx(10.0 * (1 - math.exp(-1)))
    assert lag(0.0, 10.0, 480.0, 480.0) == pytest.approx(value)


def test_wander_keeps_its_spread_and_forgets_at_its_pace() -> None:
    """The noise has the standard deviation and the autocorrelation that its arguments say."""
    draw = Random(4).gauss
    value, values = 0.0, []
    for _ in range(100_000):
        value = wander(value, draw(0.0, 1.0), 1.0, 20.0, 0.5)
        values.append(value)
    assert statistics.pstdev(values) == pytest.approx(0.5, rel=0.05)
    assert statistics.correlation(values[:-20], values[20:]) == pytest.approx(math.exp(-1), abs=0.05)


def test_severity_grows_from_0_at_the_onset_to_1_at_the_failure() -> None:
    """It is 0 before, 1 after, never falls, and grows ever faster."""
    severities = [grow_severity(time_s, ONSET_S, FAILURE_S) for time_s in range(131)]
    assert severities[:31] == [0.0] * 31
    assert severities[100:] == [1.0] * 31
    steps = [after - before for before, after in pairwise(severities[30:101])]
    assert all(step > 0 for step in steps)
    assert steps == sorted(steps)


def test_production_asks_for_a_new_load_once_per_slot_and_stays_in_its_range() -> None:
    """Set points stay between low and high, and change about once every `dwell_s`."""
    load = Load(low=0.5, high=0.9, dwell_s=1000.0, daily=0.0)
    asked = [find_setpoint(load, "seed", time_s) for time_s in range(-100_000, 100_000, 50)]
    changes = sum(before != after for before, after in pairwise(asked))
    assert 0.5 <= min(asked) < 0.55
    assert 0.85 < max(asked) <= 0.9
    assert 180 <= changes <= 201


def test_the_same_seed_shows_the_same_values_and_another_seed_does_not(plant: PlantSettings) -> None:
    """A run can be repeated value by value."""
    first = run(plant, "pump-7", -5.0, 20.0)
    assert run(plant, "pump-7", -5.0, 20.0) == first
    assert run(plant.changed(seed=plant.seed + 1), "pump-7", -5.0, 20.0) != first


@pytest.mark.parametrize("name", ["pump-7", "compressor-2", "motor-3"])
def test_a_long_run_and_a_late_one_show_the_same(plant: PlantSettings, name: str) -> None:
    """What a step shows does not depend on when the run began: history and live run join smoothly."""
    long = run(plant, name, -900.0, 20.0)[-40:]
    late = run(plant, name, 0.0, 20.0)
    for (_, before), (_, now) in zip(long, late, strict=True):
        assert now == pytest.approx(before, rel=1e-3, abs=0.11)


def test_the_past_ends_where_the_live_run_begins(plant: PlantSettings) -> None:
    """The last row of the past lies one interval before the start, and the next value is of the same run."""
    *_, (last_step, values) = simulate_past(plant, 60.0, 0.5)
    continued = begin(plant, last_step)[0]
    assert last_step == -5
    assert continued.measure() == pytest.approx(values[0], rel=1e-3, abs=0.11)


@pytest.mark.parametrize(
    ("name", "quick", "slow"),
    [
        ("pump-7", "flow", "bearing_temperature"),
        ("compressor-2", "motor_current", "discharge_temperature"),
        ("motor-3", "current", "winding_temperature"),
    ],
)
def test_temperature_lags_load_by_seconds(
    past: dict[str, dict[str, list[float]]], name: str, quick: str, slow: str
) -> None:
    """The cross-correlation of load and temperature peaks 2 to 15 s after the load."""
    load, heat = past[name][quick], past[name][slow]
    correlations = {
        shift / 2: statistics.correlation(load[: len(load) - shift], heat[shift:]) for shift in range(61)
    }
    best_s = max(correlations, key=lambda shift_s: correlations[shift_s])
    assert 2.0 <= best_s <= 15.0
    assert correlations[best_s] > correlations[0.0] + 0.05


def test_normal_visibly_moves(past: dict[str, dict[str, list[float]]]) -> None:
    """Load swings vibration, current and temperature far beyond the noise of their sensors."""
    for name, current in (
        ("pump-7", "motor_current"),
        ("compressor-2", "motor_current"),
        ("motor-3", "current"),
    ):
        for tag, swing in ((current, 0.25), ("vibration_velocity", 0.25), ("bearing_temperature", 0.12)):
            cuts = statistics.quantiles(past[name][tag], n=20)
            assert cuts[-1] - cuts[0] > swing * statistics.mean(past[name][tag]), (name, tag)


def test_a_healthy_plant_stays_below_every_fixed_limit(
    plant: PlantSettings, past: dict[str, dict[str, list[float]]]
) -> None:
    """In half an hour no tag crosses the limit that a vendor would set, for any of three seeds."""
    for machine in plant.machines:
        for seed in (plant.seed, 11, 12):
            shown = [values for _, values in run(plant.changed(seed=seed), machine.path.machine, 0.0, 300.0)]
            for tag, card in machine.tags.items():
                highest = max(past[machine.path.machine][tag] + [values[tag] for values in shown])
                assert card.high is None or highest < card.high, (machine.path.machine, tag)


@pytest.mark.parametrize(("name", "kind"), FAULTS)
def test_a_fault_crosses_a_fixed_limit_late_but_before_the_failure(
    plant: PlantSettings, name: str, kind: str
) -> None:
    """The limit of old fires in the last half of the way to the failure, and is not crossed before."""
    broken = break_machine(plant, name, kind)
    label = label_faults(broken, 0)[0]
    cards = next(machine for machine in plant.machines if machine.path.machine == name).tags
    crossed_s = [
        time_s
        for time_s, values in run(broken, name, 0.0, FAILURE_S)
        if any(cards[tag].high is not None and values[tag] > (cards[tag].high or 0) for tag in label.tags)
    ]
    assert ONSET_S + 0.5 * (FAILURE_S - ONSET_S) < crossed_s[0] < FAILURE_S - 2.0


@pytest.mark.parametrize(("name", "kind"), FAULTS)
def test_a_fault_shows_in_its_labelled_tags_and_the_machine_then_stops(
    plant: PlantSettings, name: str, kind: str
) -> None:
    """Near the failure each labelled tag is off what the healthy machine shows; after it all stands still."""
    broken = break_machine(plant, name, kind)
    healthy_rows = dict(run(plant, name, 80.0, 115.0))
    rows = dict(run(broken, name, 80.0, 115.0))
    sensors = next(machine.kind for machine in plant.machines if machine.path.machine == name).sensors
    for tag in label_faults(broken, 0)[0].tags:
        worn = [rows[time_s][tag] - healthy_rows[time_s][tag] for time_s in rows if 92.0 < time_s < 99.5]
        assert math.sqrt(statistics.fmean(value**2 for value in worn)) > 3 * sensors[tag].noise, tag
    stopped = [values for time_s, values in rows.items() if time_s > 110.0]
    for values in stopped:
        assert values["speed"] < 15.0
        assert values["vibration_velocity"] < 0.3
    assert stopped[-1]["bearing_temperature"] < stopped[0]["bearing_temperature"]


def test_before_its_onset_a_fault_changes_nothing(plant: PlantSettings) -> None:
    """Up to the labelled onset the worn and the healthy machine show the same."""
    assert run(break_machine(plant, "pump-7", "bearing"), "pump-7", 0.0, 30.0) == run(
        plant, "pump-7", 0.0, 30.0
    )


def test_a_stuck_tag_freezes_while_its_machine_runs_on(plant: PlantSettings) -> None:
    """From the onset one tag keeps its value, whenever the run began; the others show the healthy machine."""
    broken = break_machine(plant, "pump-7", "stuck-tag")
    stuck = label_faults(broken, 0)[0]
    assert stuck.tags == ("bearing_temperature",)
    assert stuck.failure_ns is None
    rows = run(broken, "pump-7", 0.0, 60.0)
    healthy = run(plant, "pump-7", 0.0, 60.0)
    after = [values for time_s, values in rows if time_s >= ONSET_S]
    assert len({values["bearing_temperature"] for values in after}) == 1
    late = begin(broken, 600)[0].measure()
    assert late["bearing_temperature"] == pytest.approx(after[0]["bearing_temperature"], abs=0.11)
    for (_, values), (_, same) in zip(rows, healthy, strict=True):
        assert {**values, "bearing_temperature": 0.0} == {**same, "bearing_temperature": 0.0}


def test_values_are_rounded_as_a_transmitter_shows_them(past: dict[str, dict[str, list[float]]]) -> None:
    """No value has more digits than its sensor's resolution."""
    assert all(value == round(value, 1) for value in past["pump-7"]["bearing_temperature"])
    assert all(value == round(value) for value in past["motor-3"]["speed"])


def test_the_past_is_written_as_one_csv_per_machine(plant: PlantSettings, tmp_path: Path) -> None:
    """Each file has a time column in UTC and one column per tag, and ends one interval before `until`."""
    files = write_past(plant, 10.0, 0.5, 1_795_000_000 * 10**9, tmp_path / "past")
    assert [file.name for file in files] == ["pump-7.csv", "compressor-2.csv", "motor-3.csv"]
    lines = files[2].read_text().splitlines()
    assert lines[0] == ",".join(["timestamp", *plant.machines[2].tags])
    assert len(lines) == 21
    assert lines[1].startswith("2026-11-18T11:06:30.000000Z,")
    assert lines[-1].startswith("2026-11-18T11:06:39.500000Z,")


def test_an_interval_off_the_grid_is_refused(plant: PlantSettings) -> None:
    """Rows can only lie on steps of the simulation."""
    with pytest.raises(HistoryRejected, match=r"--interval 0\.25 is not a multiple of the plant's step_s"):
        list(simulate_past(plant, 10.0, 0.25))


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("      flow: {", "      flwo: {", r"plant.yaml:15:5 machines\[0\].tags: a pump has no tag 'flwo'"),
        ("type: pump", "type: pmup", "'pmup' is not one of 'pump', 'compressor', 'motor'|Did you mean pump"),
        ("time_scale: 60 ", "time_scale: 0 ", "plant.yaml:3:1 time_scale: Input should be greater than 0"),
        ("air/compressor-2", "water/pump-7", "two machines are named pump-7"),
    ],
)
def test_mistakes_in_plant_yaml_are_named(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    """A wrong plant is refused with the place and the mend."""
    file = tmp_path / "plant.yaml"
    text = PLANT_FILE.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(SettingsError, match=complaint):
        load_settings(file, PlantSettings)


def test_a_fault_must_fit_its_machine(plant: PlantSettings) -> None:
    """A motor cannot cavitate; a fault without a machine of its own goes where it shows best."""
    with pytest.raises(
        ValueError, match="a motor has no cavitation; it has bearing, misalignment, stuck-tag"
    ):
        break_machine(plant, "motor-3", "cavitation")
    assert str(choose_machine("misalignment", plant.machines)) == "riverside/hall-1/water/motor-3"
    assert str(choose_machine("cavitation", plant.machines)) == "riverside/hall-1/water/pump-7"
