"""The claim: what was accepted is stored exactly once, what was not acquired is covered by a recorded gap."""

import os
import random
from pathlib import Path

import pytest

from tests.custody.faults import Fault, cut_power, kill_both
from tests.custody.figures import Figures
from tests.custody.plant import Plant, StoreKind
from tests.custody.schedule import Outcome, choose_faults, run_schedule
from tests.custody.site import Custody

LONG_S = 600


def run(folder: Path, store: StoreKind, faults: list[Fault], custody: Custody = "receipts") -> Outcome:
    """Run the chain through the faults; return what came of it."""
    with Plant(folder, store=store, custody=custody) as plant:
        return run_schedule(plant, faults)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("store", ["influxdb"])
def test_the_directed_schedule_loses_nothing(tmp_path: Path, store: StoreKind, book: Figures) -> None:
    """Each fault alone and after all the others, on a real broker and a real database."""
    outcome = run(tmp_path, store, choose_faults(store, is_root=os.geteuid() == 0))
    book.runs["directed schedule"] = outcome
    assert outcome.is_clean, outcome


@pytest.mark.timeout(300)
def test_the_harness_sees_what_trimming_on_acknowledgement_loses(tmp_path: Path, book: Figures) -> None:
    """Self-proof: gateways that let go on the broker's acknowledgement lose values, and it is found."""
    outcome = run(tmp_path, "embedded", [Fault("ingester down, then broker kill -9", kill_both)], "puback")
    book.runs["self-proof: outbox trimmed on PUBACK"] = outcome
    assert outcome.verdict.missing > 0, outcome


@pytest.mark.timeout(300)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount the disk image whose power is cut")
def test_the_harness_sees_what_an_unsynced_outbox_loses(tmp_path: Path, book: Figures) -> None:
    """Self-proof: with synchronous=NORMAL a power cut takes accepted values, and it is found."""
    cuts = [Fault("power cut at a gateway", cut_power)] * 3
    outcome = run(tmp_path, "embedded", cuts, "normal")
    book.runs["self-proof: outbox with synchronous=NORMAL"] = outcome
    assert outcome.verdict.missing > 0, outcome


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("store", ["embedded", "influxdb"])
def test_random_schedules_lose_nothing(tmp_path: Path, store: StoreKind, book: Figures) -> None:
    """Faults drawn at random for ten minutes; FOREWARN_SEED repeats a run."""
    seed = int(os.environ.get("FOREWARN_SEED") or random.SystemRandom().randrange(10**6))
    seconds = float(os.environ.get("FOREWARN_CUSTODY_S") or LONG_S)
    faults = choose_faults(store, is_root=os.geteuid() == 0, seed=seed, seconds=seconds)
    with Plant(tmp_path, store=store) as plant:
        outcome = run_schedule(plant, faults, seed)
    book.runs[f"random schedule, {store}"] = outcome
    assert outcome.is_clean, outcome
