"""`forewarn cloud train --all --scheduler`: a real Dask scheduler and real workers, which get lost, too."""

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from distributed.scheduler import KilledWorker
from typer.testing import CliRunner

from cloud.stores import Table
from cloud.watch import cluster
from cloud.watch.cluster import Cluster, ClusterLost, LearningFailed
from cloud.watch.remote_lessons import (
    Answer,
    AnswerUnusable,
    Question,
    answer_question,
    read_answer,
    write_question,
)
from cloud.watch.training import learn_rows
from cloud.watch.watching import WatchSettings
from forewarn.cli import app
from models.anomaly.bundle import Bundle, BundleMissing, Packed, load_current, pack_bundle
from models.anomaly.detectors import TrainingRejected
from models.anomaly.provenance import Origin
from models.anomaly.signing import list_trusted, locate_keys
from tests.integration.dask_rig import DaskRig, wait_until
from tests.integration.test_train_fleet import folder, train
from tests.integration.watch_replay_rig import MACHINES, PAST_ROWS, make_columns

__all__ = ["folder"]  # a fixture

SETTINGS = WatchSettings(signing_key=Path("secret.pem"))


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskRig]:
    """Give a cluster with one worker."""
    rig = DaskRig(tmp_path_factory.mktemp("dask"))
    rig.add_worker()
    yield rig
    rig.close()


def make_table(rows: int = PAST_ROWS) -> Table:
    """Return rows of a healthy machine."""
    columns = {tag: values[:rows] for tag, values in make_columns(0, PAST_ROWS).items()}
    return Table(np.arange(rows, dtype=np.int64) * 1_000_000_000, columns, {})


def test_a_cluster_trains_what_threads_would(rig: DaskRig, folder: Path, tmp_path: Path) -> None:
    """Every machine is trained, signed here, again only where something changed; a failing one is named."""
    code, out, errors = train(folder, "--all", "--scheduler", rig.address)
    assert code == 1, errors
    assert out.strip() == "3 machines: 2 trained, 0 unchanged (same values as before), 1 failed"
    assert f"failed: {MACHINES[2]}: " in errors
    assert "too short to learn from" in errors
    elsewhere = load_current(folder / "bundles", MACHINES[0])
    (ours,) = list_trusted(locate_keys(folder / "bundles"))
    assert elsewhere.signer == ours
    again = train(folder, "--all", "--scheduler", rig.address)[1]
    assert again.startswith("3 machines: 0 trained, 2 unchanged")
    for home in (folder / "bundles").glob("*.*"):
        (home / "current").unlink()
    train(folder, "--all")
    here = load_current(folder / "bundles", MACHINES[0])
    assert pack_bundle(here).arrays == pack_bundle(elsewhere).arrays
    assert here.card.training_sha256 == elsewhere.card.training_sha256
    assert here.card.limit == elsewhere.card.limit


def learn_in_thread(one: Cluster, ends: list[object]) -> threading.Thread:
    """Have a machine learned; what came of it, also an error, is put into `ends`."""

    def learn() -> None:
        try:
            ends.append(one.learn(MACHINES[0], make_table(), SETTINGS, Origin()))
        except ClusterLost as error:
            ends.append(error)

    thread = threading.Thread(target=learn)
    thread.start()
    return thread


def test_a_lost_worker_is_made_up_for(rig: DaskRig) -> None:
    """What a worker was given when it was killed goes to the next one, as if nothing had happened."""
    one = Cluster(rig.address)
    rig.freeze(-1)
    ends: list[object] = []
    thread = learn_in_thread(one, ends)
    wait_until(rig.has_work, "the worker was given the machine")
    rig.kill(-1)
    rig.add_worker()
    thread.join(60.0)
    one.close()
    (bundle,) = ends
    assert isinstance(bundle, Bundle)
    assert bundle.card.machine == str(MACHINES[0])


def test_without_workers_the_training_ends_with_the_mend(rig: DaskRig, folder: Path) -> None:
    """A scheduler whose workers are all gone is said after a while; what is trained stays."""
    for place in range(len(rig.workers)):
        rig.kill(place)
    wait_until(lambda: not rig.client.nthreads(), "the scheduler has no workers")
    with pytest.raises(ClusterLost, match=f"dask worker {rig.address}`, then repeat this command"):
        Cluster(rig.address, workerless_s_max=0.5)
    rig.add_worker()


def test_workers_that_vanish_under_way_end_the_waiting(rig: DaskRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for ever for an answer that no worker is left to give."""
    monkeypatch.setattr(cluster, "POLL_S", 0.1)
    one = Cluster(rig.address, workerless_s_max=0.5)
    rig.freeze(-1)
    ends: list[object] = []
    thread = learn_in_thread(one, ends)
    wait_until(rig.has_work, "the worker was given the machine")
    rig.kill(-1)
    thread.join(60.0)
    one.close()
    assert "has had no worker for" in str(ends[0])
    rig.add_worker()


def test_a_fault_of_the_training_is_the_machines(rig: DaskRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker fails with is named with the machine; one that ended several workers is given up."""
    one = Cluster(rig.address)
    question = msgspec.msgpack.encode(Question("a/b/c/d", {"detector": "nonsense"}, Origin(), b"", {}, {}))
    monkeypatch.setattr(cluster, "write_question", lambda *_: question)
    with pytest.raises(LearningFailed, match="a worker failed with ValidationError"):
        one.learn(MACHINES[0], make_table(), SETTINGS, Origin())
    monkeypatch.setattr(one, "_wait", lambda _: KilledWorker("key", "worker", 3))
    with pytest.raises(LearningFailed, match="4 workers were lost while they learned it"):
        one.learn(MACHINES[0], make_table(), SETTINGS, Origin())
    one.close()


def test_a_scheduler_that_is_not_there_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address, the reason and the mend; nothing is trained."""
    monkeypatch.setattr(cluster, "CONNECT_S_MAX", 0.5)
    code, out, errors = train(folder, "--all", "--scheduler", "tcp://127.0.0.1:1")
    assert (code, out) == (1, "")
    assert "the scheduler at tcp://127.0.0.1:1 cannot be reached" in errors
    for address, why in (
        ("nonsense://x:1", "write tcp://HOST:PORT"),
        ("127.0.0.1:8786", "write tcp://HOST:PORT"),
        ("tls://127.0.0.1:8786", "DASK_DISTRIBUTED__COMM__TLS__CA_FILE"),
    ):
        code, out, errors = train(folder, "--all", "--scheduler", address)
        assert (code, out) == (1, "")
        assert why in errors
    with pytest.raises(BundleMissing):
        load_current(folder / "bundles", MACHINES[0])


def test_a_question_carries_rows_and_settings_and_no_key() -> None:
    """The answer is the bundle that learning here gives; where the private key lies is not told."""
    question = write_question(MACHINES[0], make_table(), SETTINGS, Origin("before", {"flow": "l/s"}))
    assert b"secret.pem" not in question
    elsewhere = read_answer(answer_question(question), MACHINES[0])
    here = learn_rows(MACHINES[0], make_table(), SETTINGS)
    assert pack_bundle(elsewhere).arrays == pack_bundle(here).arrays
    assert elsewhere.card.origin == Origin("before", {"flow": "l/s"})


def test_a_refusal_travels_in_words() -> None:
    """Too few rows are the machine's trouble, wherever they are learned from."""
    question = write_question(MACHINES[0], make_table(30), SETTINGS, Origin())
    with pytest.raises(TrainingRejected, match="too short to learn from"):
        read_answer(answer_question(question), MACHINES[0])


@pytest.mark.parametrize(
    "answer",
    [b"", b"nonsense", msgspec.msgpack.encode(Answer(Packed(b"{}", b"PK"))), b"\x80\x04cos\nsystem\n"],
)
def test_a_foul_answer_is_refused(answer: bytes) -> None:
    """Whatever a worker sends back is read as a card and arrays, or not at all."""
    with pytest.raises(AnswerUnusable):
        read_answer(answer, MACHINES[0])


def test_foul_arrays_are_refused_whatever_reading_them_ends_in() -> None:
    """Empty, cut anywhere, with a byte changed: one machine's answer never ends the training of all."""
    packed = pack_bundle(learn_rows(MACHINES[0], make_table(), SETTINGS))
    method = packed.arrays.rindex(b"PK\x01\x02") + 10  # of the last array in the file's directory
    unknown = packed.arrays[:method] + b"\x63" + packed.arrays[method + 1 :]
    header = packed.arrays.replace(b"'fortran_order': False", b"'fortran_order': ((((")
    cuts = [packed.arrays[:size] for size in range(0, len(packed.arrays), 997)]
    for arrays in (unknown, header, *cuts):
        with pytest.raises(AnswerUnusable):
            read_answer(msgspec.msgpack.encode(Answer(Packed(packed.card, arrays))), MACHINES[0])


def test_an_answer_for_another_machine_is_refused() -> None:
    """A bundle of one machine never becomes another's."""
    bundle = learn_rows(MACHINES[1], make_table(), SETTINGS)
    with pytest.raises(AnswerUnusable, match=str(MACHINES[1])):
        read_answer(msgspec.msgpack.encode(Answer(pack_bundle(bundle))), MACHINES[0])


def test_the_command_says_what_the_scheduler_is_for() -> None:
    """The help names the option and the address to give."""
    shown = CliRunner().invoke(app, ["cloud", "train", "--help"], terminal_width=200).output
    assert "--scheduler tcp://HOST:PORT" in shown
