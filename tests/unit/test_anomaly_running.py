"""Ways of running: declared or found, each judged by what is normal in it, the unknown not at all."""

from pathlib import Path

import numpy as np
import pytest

from models.anomaly.bundle import Bundle, load_current, save_bundle
from models.anomaly.conditions import ConditionRejected, RunningCondition, find_condition, parse_condition
from models.anomaly.detectors import TrainingRejected
from models.anomaly.grid import GridRows
from models.anomaly.judging import count_reach, judge_rows, prepare_rows
from models.anomaly.material import Wishes
from models.anomaly.running import RunningPlan
from models.anomaly.training import train_bundle
from models.telemetry import MachinePath

MACHINE = MachinePath.parse("riverside/hall-1/water/pump-7")
SECOND = 1_000_000_000
ROWS = 4_000
SETTLE_S = 30.0
TAGS = ("flow", "pressure", "temperature")


def make_machine(rows: int, seed: int = 0, dwell: int = 400) -> dict[str, np.ndarray]:
    """Return a pump that is on and off in turn; pressure and temperature follow its load."""
    rng = np.random.default_rng(seed)
    on = (np.arange(rows) // dwell) % 2 == 0
    load = np.convolve(rng.normal(size=rows + 60), np.ones(60) / 8.0, mode="valid")[:rows]
    return {
        "mode": on.astype(float),
        "flow": np.where(on, 30.0 + load, 0.0) + 0.1 * rng.normal(size=rows),
        "pressure": np.where(on, 6.0 + 0.3 * load, 1.0) + 0.05 * rng.normal(size=rows),
        "temperature": np.where(on, 60.0 + 2.0 * load, 22.0) + 0.3 * rng.normal(size=rows),
    }


def train(columns: dict[str, np.ndarray], plan: RunningPlan) -> Bundle:
    """Return what a second's grid of the columns teaches."""
    rows = len(columns["flow"])
    stamps = np.arange(rows, dtype=np.int64) * SECOND
    wishes = Wishes(plan)
    return train_bundle(str(MACHINE), stamps, columns, {}, grid_s=1.0, trained_ns=SECOND, wishes=wishes)


def read(bundle: Bundle, columns: dict[str, np.ndarray]) -> GridRows:
    """Return the columns as the bundle's grid has them."""
    values = np.column_stack([columns[tag] for tag in bundle.card.columns])
    return GridRows(0, values, np.zeros(values.shape, dtype=np.uint32))


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """Give a bundle that knows on and off by the declared mode."""
    return train(make_machine(ROWS), RunningPlan([parse_condition("mode == 1")], settle_s=SETTLE_S))


def test_a_condition_is_a_tag_a_sign_and_a_number() -> None:
    """Spaces do not matter; what is none says so and how one is written."""
    assert parse_condition(" speed>=50.5 ") == RunningCondition("speed", ">=", 50.5)
    assert str(parse_condition("Motor load != 0")) == "Motor load != 0"
    for text in ("speed", "speed = 50", "speed > fast", "> 5", "speed > 50 rpm", "speed > nan", "a > b > 3"):
        with pytest.raises(ConditionRejected, match="write it like `speed > 50`"):
            parse_condition(text)
    assert parse_condition("a < 2").holds(np.array([1.0, 2.0, np.nan])).tolist() == [True, False, False]


def test_two_ways_of_running_are_found_where_hardly_a_row_lies_between_them() -> None:
    """Two levels are; one level, an even spread, a swing, and a rare excursion are not."""
    rng = np.random.default_rng(3)
    both = np.concatenate([rng.normal(10, 2, 900), rng.normal(80, 5, 300)])
    found = find_condition("load", both)
    assert found is not None
    assert 40 < found.bound < 50
    for one in (
        rng.normal(10, 2, 2_000),
        rng.uniform(0, 100, 2_000),
        np.sin(np.arange(2_000) / 50.0),
        np.concatenate([rng.normal(10, 2, 2_000), np.full(20, 90.0)]),
        np.full(2_000, 5.0),
    ):
        assert find_condition("load", one) is None


def test_on_and_off_have_centre_scale_and_limit_each(bundle: Bundle) -> None:
    """What tells them apart is not judged itself; the bundle comes back with all of it."""
    running = bundle.card.running
    assert running is not None
    assert bundle.card.tags == list(TAGS)
    assert running.signals == ["mode"]
    assert bundle.card.columns == [*TAGS, "mode"]
    assert bundle.card.left_out["mode"] == "always the same in each way of running while learning"
    assert running.numbers == [0, 1]
    assert min(running.rows) > 1_500
    assert [running.describe(number) for number in running.numbers] == ["not mode == 1", "mode == 1"]
    assert bundle.regimes is not None
    np.testing.assert_allclose(bundle.regimes.centre[:, 0], [0.0, 30.0], atol=0.5)


def test_a_bundle_with_ways_of_running_comes_back_the_same(bundle: Bundle, tmp_path: Path) -> None:
    """Card, regimes and ranges; and it judges alike to the last bit."""
    save_bundle(tmp_path, bundle)
    again = load_current(tmp_path, MACHINE)
    assert again.card == bundle.card
    fresh = make_machine(900, seed=5)
    before, after = (judge_rows(one, read(one, fresh), 900) for one in (bundle, again))
    assert before.judgement.score.tobytes() == after.judgement.score.tobytes()
    assert before.judgement.expected.tobytes() == after.judgement.expected.tobytes()


def test_healthy_running_is_calm_in_both_and_a_leak_shows_while_it_is_off(bundle: Bundle) -> None:
    """Without ways of running a flow of 1.5 while off hides between 0 and 30."""
    fresh = make_machine(2_400, seed=6)
    calm = judge_rows(bundle, read(bundle, fresh), 2_400)
    judged = np.isfinite(calm.judgement.score)
    assert judged.mean() > 0.8
    assert (calm.judgement.score[judged] > calm.limit).mean() < 0.01
    leak = fresh | {"flow": fresh["flow"] + 1.5 * (fresh["mode"] == 0) * (np.arange(2_400) > 1_600)}
    off = slice(2_100, 2_350)
    seen = judge_rows(bundle, read(bundle, leak), 2_400)
    assert (fresh["mode"][off][:90] == 0).all()
    plain = train(make_machine(ROWS), RunningPlan())
    blind = judge_rows(plain, read(plain, leak), 2_400)
    rows = np.flatnonzero((leak["mode"] == 0) & (np.arange(2_400) > 2_080))
    assert (seen.judgement.score[rows] > 3.0 * seen.limit).mean() > 0.7
    worst = np.nanmax(seen.judgement.score[rows] / seen.limit)
    assert worst > 2.0 * np.nanmax(blind.judgement.score[rows] / blind.limit)


def test_expected_values_are_in_the_tags_units(bundle: Bundle) -> None:
    """On a running machine about 60 degrees are expected, on a stopped one 22."""
    fresh = make_machine(800, seed=7)
    verdict = judge_rows(bundle, read(bundle, fresh), 800)
    place = bundle.card.tags.index("temperature")
    for row, usual in ((395, 60.0), (795, 22.0)):
        assert verdict.is_judged(row)
        assert abs(verdict.judgement.expected[row, place] - usual) < 5.0
        assert abs(verdict.judgement.seen[row, place] - fresh["temperature"][row - 4 : row + 1].mean()) < 1e-9


def test_after_a_switch_nothing_is_judged_until_it_has_settled(bundle: Bundle) -> None:
    """And the reason says how long ago it changed, and to what."""
    fresh = make_machine(800, seed=8)
    score = judge_rows(bundle, read(bundle, fresh), 800).judgement.score
    assert np.isnan(score[400 : 400 + int(SETTLE_S)]).all()
    assert np.isfinite(score[500:]).all()
    early = judge_rows(bundle, read(bundle, {tag: column[:410] for tag, column in fresh.items()}), 1)
    assert early.reason == (
        "the running condition changed 10 s ago (not mode == 1): nothing is judged for 30 s"
    )
    assert not early.is_running_unknown


def test_a_way_of_running_never_seen_is_a_state_of_its_own() -> None:
    """A pump that was never off while learning is not judged once it is; nor without the tag that says so."""
    always_on = make_machine(1_200, dwell=10_000)
    changed = train(
        {tag: column[:800] for tag, column in always_on.items()},
        RunningPlan([parse_condition("mode > 0.5")], settle_s=SETTLE_S),
    )
    running = changed.card.running
    assert running is not None
    assert running.numbers == [1]
    fresh = make_machine(800, seed=9)
    off = judge_rows(changed, read(changed, fresh), 1)
    assert off.is_running_unknown
    assert not off.is_judged(0)
    assert off.reason.startswith("unknown running condition: no alert, nothing learned (not mode > 0.5")
    fresh["mode"][300:] = np.nan
    grid = read(changed, fresh)
    grid.bad[300:, -1] = 0x80000000
    mute = judge_rows(changed, grid, 1)
    assert mute.is_running_unknown
    assert "(no value of mode)" in mute.reason


def test_row_by_row_and_from_few_rows_the_scores_are_the_same(bundle: Bundle) -> None:
    """A row judged with only the rows that it may depend on has the score that it has among all."""
    fresh = make_machine(900, seed=10)
    whole = judge_rows(bundle, read(bundle, fresh), 900).judgement.score
    reach = count_reach(bundle) + 1
    for row in (395, 402, 431, 445, 470, 800, 899):
        first = max(0, row + 1 - reach)
        part = {tag: column[first : row + 1] for tag, column in fresh.items()}
        alone = judge_rows(bundle, read(bundle, part), 1).judgement.score[0]
        np.testing.assert_allclose(alone, whole[row], rtol=1e-9, equal_nan=True)


def test_ways_of_running_are_found_in_a_load_tag() -> None:
    """And where a load tag shows none, the machine is learned as one."""
    columns = make_machine(ROWS)
    found = train(columns, RunningPlan(load_tags=["flow"], settle_s=SETTLE_S)).card.running
    assert found is not None
    assert len(found.conditions) == 1
    assert 5 < found.conditions[0].bound < 25
    on_only = {tag: column[:380] for tag, column in columns.items() if tag != "mode"}
    assert train(on_only, RunningPlan(load_tags=["flow"])).card.running is None


def test_conditions_that_cannot_be_meant_are_refused_with_the_mend() -> None:
    """A tag that there is not, and settling that never ends."""
    columns = make_machine(1_200, dwell=40)
    with pytest.raises(TrainingRejected, match=r"name the tag 'sped'.* tags are flow, mode, pressure"):
        train(columns, RunningPlan([parse_condition("sped > 1")]))
    late = {tag: np.tile(column[:80], 15) for tag, column in columns.items()}
    with pytest.raises(TrainingRejected, match=r"rows|settle_s"):
        train(late, RunningPlan([parse_condition("mode == 1")], settle_s=60.0))


def test_a_way_of_running_with_rows_enough_has_a_limit_of_its_own() -> None:
    """A pump that now and then bucks while it runs keeps a low limit while it is off; one score fits both."""
    rows = 10_000
    columns = make_machine(rows)
    rng = np.random.default_rng(12)
    bucks = np.convolve(rng.random(rows) < 0.01, np.ones(8), mode="same") * columns["mode"]
    columns["pressure"] = columns["pressure"] + 0.6 * bucks
    plan = RunningPlan([parse_condition("mode == 1")], settle_s=SETTLE_S)
    learned = train(columns, plan)
    running, overall = learned.card.running, learned.card.limit.value
    assert running is not None
    off, on = running.limits
    assert off < 0.8 * on
    np.testing.assert_allclose(running.ease(np.array([0, 1, 0]), overall), overall / np.array([off, on, off]))
    fresh = make_machine(800, seed=13)
    eased = judge_rows(learned, read(learned, fresh), 800).judgement.score[790]
    plain = learned.detector.judge(prepare_rows(learned, read(learned, fresh)).values).score[790]
    np.testing.assert_allclose(eased / overall, plain / off, rtol=1e-9)


def test_what_is_calm_is_so_in_the_way_it_runs_in() -> None:
    """Many tags that are quiet in one way and bursting in the other: an alert ends in either."""
    rng = np.random.default_rng(0)
    on, noise = (np.arange(12_000) // 1_500) % 2 == 0, rng.normal(size=(12_000, 20))
    for row in np.flatnonzero(~on & (rng.random(12_000) < 0.004)):
        noise[row : row + 12] += 4.0 * rng.normal(size=20)
    columns = {f"tag_{place:02d}": noise[:, place] for place in range(20)} | {"flow": on.astype(float)}
    bundle = train(columns, RunningPlan([parse_condition("flow > 0.5")], settle_s=10.0))
    fresh = {f"tag_{place:02d}": rng.normal(size=1_000) for place in range(20)} | {"flow": np.ones(1_000)}
    verdict = judge_rows(bundle, read(bundle, fresh), 500)
    assert 0.65 * verdict.limit < np.median(verdict.judgement.score)  # it never gets so low
    assert 0.8 < np.mean(verdict.judgement.score < verdict.calm) < 0.98
    assert verdict.calm < verdict.limit
