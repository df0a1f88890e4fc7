"""Bundles of every detector: kept as arrays, restored alike, judged without scikit-learn."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models.anomaly.bundle import Bundle, load_current, save_bundle
from models.anomaly.calibration.promise import BEARABLE_PER_MONTH
from models.anomaly.detectors.shelf import DETECTORS
from models.anomaly.grid import GridRows
from models.anomaly.judging import judge_rows
from models.anomaly.training import train_bundle
from models.telemetry import MachinePath

MACHINE = MachinePath.parse("riverside/hall-1/water/pump-7")
BEGIN_NS = 1_795_337_912_000_000_000
ROWS = 900


def make_columns(seed: int = 0) -> dict[str, np.ndarray]:
    """Return three tags that follow a load."""
    rng = np.random.default_rng(seed)
    load = np.convolve(rng.normal(size=ROWS + 60), np.ones(60) / 8.0, mode="valid")[:ROWS]
    return {
        "current": 12.0 + 0.5 * load + 0.1 * rng.normal(size=ROWS),
        "flow": 30.0 + load + 0.2 * rng.normal(size=ROWS),
        "temperature": 60.0 + 2.0 * load + 0.3 * rng.normal(size=ROWS),
    }


def train(detector: str, episodes_per_month: float = 1.0) -> Bundle:
    """Return a bundle of the detector, of a second's grid."""
    stamps = BEGIN_NS + np.arange(ROWS, dtype=np.int64) * 1_000_000_000
    return train_bundle(
        str(MACHINE),
        stamps,
        make_columns(),
        {},
        grid_s=1.0,
        trained_ns=BEGIN_NS,
        detector=detector,
        episodes_per_month=episodes_per_month,
    )


@pytest.mark.parametrize("detector", list(DETECTORS))
def test_a_bundle_comes_back_the_same_and_needs_no_scikit_learn(detector: str, tmp_path: Path) -> None:
    """Another program loads it, judges alike to the last bit, and has not imported scikit-learn or scipy."""
    bundle = train(detector)
    save_bundle(tmp_path, bundle)
    fresh = np.column_stack([make_columns(1)[tag] for tag in bundle.card.tags])
    np.save(tmp_path / "fresh.npy", fresh)
    program = (
        "import sys, numpy as np\nfrom pathlib import Path\n"
        "import cloud.watch.watcher\n"
        "from models.anomaly.bundle import load_current\nfrom models.telemetry import MachinePath\n"
        f"root = Path({str(tmp_path)!r})\n"
        f"bundle = load_current(root, MachinePath.parse({str(MACHINE)!r}))\n"
        "np.save(root / 'score.npy', bundle.detector.judge(np.load(root / 'fresh.npy')).score)\n"
        "sys.exit(any(name in sys.modules for name in ('sklearn', 'scipy')))\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    np.testing.assert_array_equal(np.load(tmp_path / "score.npy"), bundle.detector.judge(fresh).score)
    assert load_current(tmp_path, MACHINE).card == bundle.card


def test_the_card_says_what_was_promised_and_what_can_be() -> None:
    """900 s of learning support two false alarms an hour; the limit is stretched to one a day."""
    promise = train("fuse").card.promise
    assert promise is not None
    assert promise.provisional
    assert promise.asked == 1.0 < promise.promised == BEARABLE_PER_MONTH < promise.floor
    assert promise.band[0] <= promise.promised <= promise.band[1]
    modest = train("fuse", episodes_per_month=1e5).card
    assert modest.promise is not None
    assert modest.promise.promised == 1e5
    assert modest.limit.value == modest.promise.limit < promise.limit


def test_the_tag_that_is_astray_is_named_with_what_was_expected() -> None:
    """`fuse` names a temperature that rises alone first, with the value that the others let expect."""
    bundle = train("fuse")
    columns = make_columns(1)
    columns["temperature"][-30:] += 6.0
    values = np.column_stack([columns[tag] for tag in bundle.card.tags])
    verdict = judge_rows(bundle, GridRows(0, values, np.zeros(values.shape, dtype=np.uint32)), 1)
    assert verdict.judgement.score[-1] > verdict.limit
    causes = verdict.name_causes(-1)
    assert causes[0].tag == "temperature"
    assert causes[0].value - causes[0].expected == pytest.approx(6.0, abs=1.5)
    assert all(abs(cause.sigma) < abs(causes[0].sigma) / 2 for cause in causes[1:])
