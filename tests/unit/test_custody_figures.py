"""The custody page: each target renews its own part, and the figures go through a file."""

from pathlib import Path

from tests.custody import figures, report
from tests.custody.figures import Figures
from tests.custody.reconcile import Verdict
from tests.custody.schedule import Outcome, Strike, Weight
from tests.custody.side_by_side import Comparison, Fate


def make_outcome(missing: int, seed: int | None = 7) -> Outcome:
    """Return what a run of two faults may come to."""
    strikes = [Strike("broker kill -9", 2.0, 110, 1.2), Strike("partition of 20 s", 20.0, 1_110, None)]
    verdict = Verdict(issued=1_000, accepted=990, stored=980, missing=missing)
    kept, gaps = Weight(4_000, 100), {"gateway_down": 4.0}
    return Outcome(seed, "embedded", "a rope", kept, Weight(), 60.0, strikes, verdict, [], 0, gaps)


def test_a_later_run_takes_the_place_of_its_own_kind_only(tmp_path: Path) -> None:
    """Others stay as they were, in the page's order; written and read again they are the same."""
    before = Figures({"self-proof: x": make_outcome(5), "directed schedule": make_outcome(0)})
    beside = Comparison(["partition"], [Fate("Forewarn", 10, 10), Fate("theirs", 9, 7, 0, 2)], "a rope")
    after = before.renew(Figures({"random schedule": make_outcome(1), "self-proof: x": make_outcome(9)}))
    after = after.renew(Figures(beside=beside)).renew(Figures())
    assert list(after.runs) == ["directed schedule", "random schedule", "self-proof: x"]
    assert [outcome.verdict.missing for outcome in after.runs.values()] == [0, 1, 9]
    assert after.beside == beside
    figures.save(after, tmp_path / "figures.json")
    assert figures.load(tmp_path / "figures.json") == after
    assert figures.load(tmp_path / "nothing.json") == Figures()


def test_the_page_says_what_was_found() -> None:
    """Losses, a fault never recovered from, bytes a value, how faults were made, and the comparison."""
    beside = Comparison(["partition"], [Fate("Forewarn", 10, 10), Fate("theirs", 9, 7, 0, 2)], "a rope")
    runs = {"directed schedule": make_outcome(3, None), "random schedule, x": make_outcome(0)}
    page = report.describe(Figures(runs, beside))
    for words in (
        "| directed schedule | embedded | 2 | 1,000 | 990 | **3** |",
        "| random schedule, x, seed 7 | embedded | 2 | 1,000 | 990 | **0** |",
        "| partition of 20 s | 1 | 20 s | 1,110 batches | inf / never |",
        "| broker kill -9 | 1 | 2 s | 110 batches | 1.2 / 1.2 s |",
        "| partition of 20 s | 20 s | 1,110 batches | never |",
        "The way between gateways and broker: a rope.",
        "Recorded gaps, summed over all machines: gateway_down 4 s.",
        "| directed schedule | 4 kB for 100 values | 40 bytes | embedded | 0 kB for 0 values | - |",
        "| theirs | 9 | 7 | 0 | **2** | 0 |",
    ):
        assert words in page, words
