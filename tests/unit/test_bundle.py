"""Bundles: written whole or not at all, and never believed when damaged."""

import io
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from models.anomaly.bundle import (
    Bundle,
    BundleDamaged,
    BundleMissing,
    find_bundle,
    load_bundle,
    load_current,
    locate_machine,
    save_bundle,
    sign_bundle,
)
from models.anomaly.bundle_places import VERSIONS_MAX, drop_oldest
from models.anomaly.detectors import TrainingRejected
from models.anomaly.judging import judge_rows
from models.anomaly.limits import set_limit
from models.anomaly.signing import locate_keys
from models.anomaly.training import train_bundle
from models.telemetry import MachinePath

MACHINE = MachinePath.parse("riverside/hall-1/water/pump-7")
BEGIN_NS = 1_795_337_912_000_000_000
SCRIPT = "<script>alert(1)</script>"


def make_columns(rows: int = 900, seed: int = 0) -> dict[str, np.ndarray]:
    """Return a machine's values: load, two tags that follow it, one that never moves."""
    rng = np.random.default_rng(seed)
    load = np.convolve(rng.normal(size=rows + 30), np.ones(30) / 5.0, mode="valid")[:rows]
    return {
        "flow": 30.0 + load + 0.2 * rng.normal(size=rows),
        SCRIPT: 12.0 + 0.5 * load + 0.1 * rng.normal(size=rows),
        "temperature": 60.0 + 2.0 * load + 0.3 * rng.normal(size=rows),
        "setpoint": np.full(rows, 4.0),
    }


def train(machine: MachinePath = MACHINE, trained_ns: int = BEGIN_NS, rows: int = 900) -> Bundle:
    """Return a bundle of a second's grid."""
    stamps = BEGIN_NS + np.arange(rows, dtype=np.int64) * 1_000_000_000
    return train_bundle(str(machine), stamps, make_columns(rows), {}, grid_s=1.0, trained_ns=trained_ns)


def test_a_saved_bundle_comes_back_the_same(tmp_path: Path) -> None:
    """Card, health and every score survive the way through the files."""
    bundle = train()
    folder = save_bundle(tmp_path, bundle)
    loaded = load_current(tmp_path, MACHINE)
    assert loaded.card == bundle.card
    assert find_bundle(tmp_path) == find_bundle(folder) == find_bundle(folder.parent) == folder
    values = np.column_stack([make_columns(seed=1)[tag] for tag in bundle.card.tags])
    np.testing.assert_array_equal(loaded.detector.judge(values).score, bundle.detector.judge(values).score)


def test_the_card_says_what_was_learned_from_what() -> None:
    """Tags in order, what was left out and why, the span, the rows, the limit and its ground."""
    card = train().card
    assert card.tags == [SCRIPT, "flow", "temperature"]
    assert card.left_out == {"setpoint": "always 4 while learning"}
    assert (card.rows, card.grid_s, card.first_ns) == (900, 1.0, BEGIN_NS)
    assert card.limit.independent_windows == 14
    assert card.limit.provisional
    assert card.limit.value > card.limit.quantiles["0.99"]
    assert set(card.versions) == {"python", "numpy", "scipy", "scikit-learn"}


def test_the_newest_bundle_is_current_and_the_older_stays(tmp_path: Path) -> None:
    """Training again moves the pointer and keeps what was."""
    first = save_bundle(tmp_path, train())
    second = save_bundle(tmp_path, train(trained_ns=BEGIN_NS + 5_000_000_000))
    assert load_current(tmp_path, MACHINE).card.trained_ns == BEGIN_NS + 5_000_000_000
    assert load_bundle(first).card.trained_ns == BEGIN_NS
    assert sorted(path.name for path in first.parent.iterdir()) == sorted(
        [first.name, second.name, "current"]
    )


def test_a_machine_without_a_bundle_is_told_how_to_get_one(tmp_path: Path) -> None:
    """The error names the machine and the command."""
    with pytest.raises(BundleMissing, match="cloud train --machine riverside/hall-1/water/pump-7"):
        load_current(tmp_path, MACHINE)


@pytest.mark.parametrize("name", ["card.json", "arrays.npz", "checksums.json", "signature.json"])
def test_every_flipped_bit_is_noticed(tmp_path: Path, name: str) -> None:
    """A file that was changed, cut or lost after training is refused with its name or folder."""
    folder = save_bundle(tmp_path, train())
    whole = (folder / name).read_bytes()
    rng = np.random.default_rng(1)
    for place in rng.integers(0, len(whole), size=20):
        flipped = bytearray(whole)
        flipped[place] ^= 1
        (folder / name).write_bytes(flipped)
        with pytest.raises(BundleDamaged):
            load_bundle(folder)
    (folder / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BundleDamaged):
        load_bundle(folder)
    (folder / name).unlink()
    with pytest.raises(BundleDamaged):
        load_bundle(folder)


def test_a_bundle_of_another_machine_is_refused(tmp_path: Path) -> None:
    """Copying a folder to another machine's place does not make it that machine's model."""
    save_bundle(tmp_path, train())
    other = MachinePath.parse("riverside/hall-1/water/pump-8")
    shutil.copytree(locate_machine(tmp_path, MACHINE), locate_machine(tmp_path, other))
    with pytest.raises(BundleDamaged, match="pump-7"):
        load_current(tmp_path, other)


@pytest.mark.parametrize("name", ["../../outside", "", "..", "nowhere"])
def test_a_pointer_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    """The pointer names a folder beside itself, nothing else is followed."""
    save_bundle(tmp_path, train())
    (locate_machine(tmp_path, MACHINE) / "current").write_text(name)
    with pytest.raises(BundleDamaged):
        load_current(tmp_path, MACHINE)


def test_a_pickle_in_the_arrays_is_never_opened(tmp_path: Path) -> None:
    """Arrays of objects, with matching checksums and a good signature, are refused."""
    import hashlib

    folder = save_bundle(tmp_path, train())
    packed = io.BytesIO()
    np.savez(packed, mean_=np.array([print], dtype=object))
    (folder / "arrays.npz").write_bytes(packed.getvalue())
    sums = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("card.json", "arrays.npz")
    }
    (folder / "checksums.json").write_bytes(msgspec.json.encode(sums))
    sign_bundle(folder, locate_keys(tmp_path))
    with pytest.raises(BundleDamaged, match="no bundle of this version"):
        load_bundle(folder)


def test_too_short_a_span_is_refused_in_words() -> None:
    """The message says how long it was and how long it must be."""
    with pytest.raises(TrainingRejected, match=r"40 s of values is too short .* 2 min"):
        train(rows=40)


def test_the_limit_is_never_below_what_normal_running_reached() -> None:
    """And higher, the rarer a false alarm shall be."""
    scores = np.exp(np.random.default_rng(2).normal(scale=0.2, size=6_000))
    usual = set_limit(scores, 60, 1)
    rare = set_limit(scores, 60, 1, windows_per_false_alarm=1_000_000)
    assert scores.max() <= usual.value < rare.value < 10.0
    assert not usual.provisional
    assert set_limit(scores[:2_000], 60, 1).provisional


def test_the_limit_keeps_its_promise_on_scores_like_those_it_saw() -> None:
    """Of fresh windows about one in N passes a limit set for one in N."""
    rng = np.random.default_rng(3)
    shares = []
    for _ in range(20):
        limit = set_limit(np.exp(rng.normal(size=12_000)), 60, 1, windows_per_false_alarm=100)
        peaks = np.exp(rng.normal(size=(2_000, 60))).max(axis=1)
        shares.append(float((peaks > limit.value).mean()))
    assert 0.001 < np.mean(shares) < 0.03


def test_the_tags_that_are_astray_are_named_with_what_was_expected() -> None:
    """A temperature that rises alone is named first, with the value that flow and the rest let expect."""
    bundle = train()
    columns = make_columns(seed=1)
    columns["temperature"][-30:] += 6.0
    values = np.column_stack([columns[tag] for tag in bundle.card.tags])
    from models.anomaly.grid import GridRows

    grid = GridRows(0, values, np.zeros(values.shape, dtype=np.uint32))
    verdict = judge_rows(bundle, grid, 1)
    assert verdict.judgement.score[-1] > verdict.limit
    causes = verdict.name_causes(-1)
    assert causes[0].tag == "temperature"
    assert causes[0].value - causes[0].expected == pytest.approx(6.0, abs=1.0)
    assert causes[0].sigma > 10.0
    assert all(abs(cause.sigma) < 4.0 for cause in causes[1:])


def test_scoring_needs_no_scikit_learn(tmp_path: Path) -> None:
    """A process that loads a bundle and judges with it never imports scikit-learn (190 MB)."""
    save_bundle(tmp_path, train())
    program = (
        "import sys, numpy as np\nfrom pathlib import Path\n"
        "import cloud.watch.watcher\n"
        "from models.anomaly.bundle import load_current\nfrom models.telemetry import MachinePath\n"
        f"bundle = load_current(Path({str(tmp_path)!r}), MachinePath.parse({str(MACHINE)!r}))\n"
        "score = bundle.detector.judge(np.ones((70, 3))).score[-1]\n"
        "assert np.isfinite(score)\n"
        "sys.exit(any(name in sys.modules for name in ('sklearn', 'scipy')))\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_oldest_versions_go_but_not_the_one_in_charge(tmp_path: Path) -> None:
    """The newest are kept; one that was put in charge again stays as long as it is, however old."""
    saved = save_bundle(tmp_path, train())
    home, names = saved.parent, [f"2020{n // 28 + 1:02}{n % 28 + 1:02}T000000.000000Z" for n in range(70)]
    for name in names:
        shutil.copytree(saved, home / name)
    drop_oldest(home, names[0])
    kept = sorted(one.name for one in home.iterdir() if one.is_dir())
    assert kept == [names[0], *names[-(VERSIONS_MAX - 2) :], saved.name]
    newest = save_bundle(tmp_path, train(trained_ns=BEGIN_NS + 10**9))
    kept = sorted(one.name for one in home.iterdir() if one.is_dir())
    assert kept == [*names[-(VERSIONS_MAX - 2) :], saved.name, newest.name]
