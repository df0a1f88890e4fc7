"""`forewarn cloud train --all`: every machine, several at once, again only where something changed."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cloud.stores import Block
from cloud.stores.embedded import EmbeddedStoreSettings
from forewarn.cli import app
from models.anomaly.bundle import find_current, load_current
from models.anomaly.signing import Keys, list_trusted
from models.telemetry import Frame
from tests.integration.watch_replay_rig import MACHINES, PAST_ROWS, cut, make_columns
from tests.integration.watcher_rig import NOW_NS, SECOND

CONFIG = """
records: {path: records.sqlite}
store: {kind: embedded, path: store.sqlite}
bundles: bundles
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give the settings of a cloud that has three machines stored, the last of them for two seconds only."""
    (tmp_path / "cloud.yaml").write_text(CONFIG)
    for seed, machine in enumerate(MACHINES):
        store(tmp_path, machine, cut(make_columns(seed, PAST_ROWS), -PAST_ROWS, PAST_ROWS if seed < 2 else 2))
    return tmp_path


def store(folder: Path, machine: object, *frames: Frame) -> None:
    """Put frames into the store."""
    writer = EmbeddedStoreSettings(kind="embedded", path=folder / "store.sqlite").build_writer()
    writer.write([Block("telemetry", machine, list(frames))])
    writer.close()


def train(folder: Path, *words: str) -> tuple[int, str, str]:
    """Return the exit code, standard output and standard error."""
    result = CliRunner().invoke(app, ["cloud", "train", "--config", str(folder / "cloud.yaml"), *words])
    return result.exit_code, result.stdout, result.stderr + str(result.exception or "")


def test_one_failing_machine_does_not_stop_the_rest(folder: Path) -> None:
    """Two are trained, the third is named with its reason, and the exit code says that not all went well."""
    code, out, errors = train(folder, "--all")
    assert code == 1
    assert out.strip() == "3 machines: 2 trained, 0 unchanged (same values as before), 1 failed"
    assert f"failed: {MACHINES[2]}: " in errors
    assert "too short to learn from" in errors
    assert [load_current(folder / "bundles", machine).card.rows for machine in MACHINES[:2]] == [
        PAST_ROWS
    ] * 2


def test_what_was_trained_from_the_same_values_is_left_alone(folder: Path) -> None:
    """A second call trains nothing; new values, and a bundle that is gone, train that machine alone."""
    train(folder, "--all", "--jobs", "1")
    before = [find_current(folder / "bundles", machine) for machine in MACHINES[:2]]
    assert train(folder, "--all")[1].startswith("3 machines: 0 trained, 2 unchanged")
    assert [find_current(folder / "bundles", machine) for machine in MACHINES[:2]] == before
    store(folder, MACHINES[1], Frame([NOW_NS - 100 * SECOND], {"flow": [29.0]}))  # late, inside the span
    assert train(folder, "--all")[1].startswith("3 machines: 1 trained, 1 unchanged")
    assert find_current(folder / "bundles", MACHINES[0]) == before[0]
    (before[0].parent / "current").unlink()
    assert train(folder, "--all")[1].startswith("3 machines: 1 trained, 1 unchanged")


def test_models_are_signed_with_the_key_of_the_settings(folder: Path) -> None:
    """The first training makes the key where the settings want it, and none beside the bundles."""
    words = "watch: {signing_key: secret/key.pem, trusted_keys: public}\n"
    (folder / "cloud.yaml").write_text(CONFIG + words)
    train(folder, "--all")
    keys = Keys(folder / "secret" / "key.pem", folder / "public")
    assert [load_current(folder / "bundles", machine, keys).signer for machine in MACHINES[:2]] == [
        *list_trusted(keys)
    ] * 2
    assert not (folder / "bundles" / "keys").exists()


def test_a_scheduler_needs_dask_and_many_machines(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, or for one machine, the message says the mend, and nothing is trained."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "cloud.watch.cluster", raising=False)
    code, out, errors = train(folder, "--all", "--scheduler", "tcp://10.0.0.1:8786")
    assert (code, out) == (1, "")
    assert "pip install 'forewarn[cloud,dask]', or leave --scheduler out" in errors
    code, out, errors = train(folder, "--machine", str(MACHINES[0]), "--scheduler", "tcp://10.0.0.1:8786")
    assert (code, out) == (2, "")
    assert "say --all" in errors
    assert not (folder / "bundles").exists()
