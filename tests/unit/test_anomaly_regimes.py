"""Regimes: each way of running is normal in its own way."""

import numpy as np

from models.anomaly.regimes import (
    UNKNOWN,
    Condition,
    find_settling,
    identify_regimes,
    learn_regimes,
)

NAN = float("nan")


def make_machine(rows: int = 1_000) -> np.ndarray:
    """Return speed and current of a machine that is off, then on."""
    rng = np.random.default_rng(1)
    on = np.arange(rows) >= rows // 2
    return np.column_stack(
        [on * 50.0 + rng.normal(size=rows), on * 10.0 + (0.01 + on) * rng.normal(size=rows)]
    )


def test_a_regime_is_a_combination_of_conditions() -> None:
    """Two conditions make four regimes; a missing value makes it unknown, however many conditions hold."""
    values = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 9.0], [NAN, 9.0], [9.0, NAN]])
    regime = identify_regimes(values, [Condition(0, 5.0), Condition(1, 5.0)])
    assert regime.tolist() == [0, 1, 2, 3, UNKNOWN, UNKNOWN]


def test_each_regime_has_units_of_its_own() -> None:
    """On and off are both centred on 0, the current of a deviation of 1; all come back to what they were."""
    values = make_machine()
    regime = identify_regimes(values, [Condition(0, 25.0)])
    regimes = learn_regimes(values, regime)
    units = regimes.standardise(values, regime)
    for number in (0, 1):
        np.testing.assert_allclose(np.median(units[regime == number], axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(units[regime == 1, 1].std(), 1.0, rtol=1e-6)
    np.testing.assert_allclose(regimes.restore(units, regime), values)


def test_a_tag_that_stood_still_in_one_regime_may_move_a_little_there() -> None:
    """A current that is nearly 0 while the machine is off is scaled by its movement over all regimes."""
    values = make_machine()
    regime = identify_regimes(values, [Condition(0, 25.0)])
    assert learn_regimes(values, regime).scale[0, 1] > 0.2


def test_what_is_not_known_or_not_settled_has_no_units() -> None:
    """A regime never seen while learning, and the rows after a switch, are missing: never judged."""
    values = make_machine()
    regime = identify_regimes(values, [Condition(0, 25.0)])
    off_only = learn_regimes(values[:500], regime[:500])
    assert np.isnan(off_only.standardise(values, regime)[500:]).all()
    assert np.isfinite(off_only.standardise(values, regime)[:500]).all()
    units = learn_regimes(values, regime).standardise(values, regime, settle_rows=20)
    assert np.flatnonzero(np.isnan(units[:, 0])).tolist() == list(range(500, 520))


def test_the_first_row_is_no_switch() -> None:
    """Nobody knows what was before; settling counts from switches that were seen."""
    regime = np.array([1, 1, 1, 0, 0, 0, 0])
    assert find_settling(regime, 2).tolist() == [False, False, False, True, True, False, False]
    assert not find_settling(regime, 0).any()
