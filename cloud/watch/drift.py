"""Drift: how far the values of today are from those that were learned from, tag by tag."""

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from cloud.stores import StoreReader, Table
from models.anomaly.bundle import Card
from models.anomaly.grid import NS_PER_S
from models.telemetry import MachinePath

BINS = 10
SHARE_MIN = 1e-4
SAMPLES_MIN = 100
REFERENCE_S_MAX = 7 * 86_400
HALF = 0.5


class Drift(msgspec.Struct, frozen=True):
    """`psi` by tag: below 0.1 as learned, above 0.25 another machine. `above_half`: the share of the judged
    rows whose score is above half the limit, None where none was judged.
    """

    psi: dict[str, float]
    above_half: float | None

    def describe(self) -> str:
        """Say it in one line, the most drifted tags first."""
        worst = sorted(self.psi.items(), key=lambda item: -item[1])[:3]
        words = ", ".join(f"{tag} {value:.2f}" for tag, value in worst) or "no tag has enough values"
        share = "" if self.above_half is None else f"; {self.above_half:.1%} of the rows above half the limit"
        return f"PSI {words}{share}"


def measure_psi(learned: NDArray[np.float64], recent: NDArray[np.float64]) -> float | None:
    """Return the population stability index of samples (n,) against those learned from; None for too few.

    sum (p - q) ln(p / q) over bins that hold a tenth of the learned values each (Siddiqi 2006, Credit Risk
    Scorecards, ch. 6); empty shares count as `SHARE_MIN`.
    """
    learned, recent = learned[np.isfinite(learned)], recent[np.isfinite(recent)]
    if min(len(learned), len(recent)) < SAMPLES_MIN:
        return None
    edges = np.unique(np.quantile(learned, np.arange(1, BINS) / BINS))
    shares = [
        np.maximum(
            np.bincount(np.searchsorted(edges, one, side="right"), minlength=len(edges) + 1) / len(one),
            SHARE_MIN,
        )
        for one in (learned, recent)
    ]
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def measure_drift(reader: StoreReader, card: Card, recent: Table, span: tuple[int, int]) -> Drift:
    """Return the drift of a machine's recent values and scores in the span; raises what the reader raises."""
    machine = MachinePath.parse(card.machine)
    begin = max(card.first_ns, card.last_ns - REFERENCE_S_MAX * NS_PER_S)
    learned = reader.read("telemetry", machine, begin, card.last_ns + 1, card.tags)
    found = {
        tag: measure_psi(learned.values[tag], recent.values[tag])
        for tag in card.tags
        if tag in learned.values and tag in recent.values
    }
    scores = reader.read("score", machine, *span, ["score", "limit"]).values
    above = None
    if "score" in scores and "limit" in scores:
        share = float(np.nanmean(scores["score"] > HALF * scores["limit"]))
        above = share if math.isfinite(share) else None
    return Drift({tag: psi for tag, psi in found.items() if psi is not None}, above)
