"""Judging many machines together: their newest rows in a few products, each as if it were alone."""

from collections.abc import Iterable, Sequence

from models.anomaly.bundle import Bundle
from models.anomaly.detectors import Detector, Judgement
from models.anomaly.detectors.fuse import FuseDetector
from models.anomaly.detectors.panel import PANEL_MACHINES_MAX, Gauge, Panel
from models.anomaly.features import Matrix
from models.anomaly.judging import Prepared, Verdict, finish_rows


class Seating:
    """Gives each `fuse` detector its place on a panel. For one thread.

    A detector without a place judges by itself, and so does a row with missing values; what is said of a row
    is the same to the last bit.
    """

    def __init__(self, detectors: Iterable[Detector] = ()) -> None:
        alike: dict[tuple[int, ...], dict[int, Gauge]] = {}
        self._detectors = [one for one in detectors if isinstance(one, FuseDetector)]
        for one in self._detectors:  # kept, so that an id is that of one detector for ever
            alike.setdefault(one.gauge.shape, {})[id(one)] = one.gauge
        self._places: dict[int, tuple[int, int]] = {}
        self._panels: list[Panel] = []
        for gauges in alike.values():
            names = list(gauges)
            for begin in range(0, len(names), PANEL_MACHINES_MAX):
                seated = names[begin : begin + PANEL_MACHINES_MAX]
                self._places |= {name: (len(self._panels), place) for place, name in enumerate(seated)}
                self._panels.append(Panel([gauges[name] for name in seated]))

    def judge(self, asked: Sequence[tuple[Detector, Matrix]]) -> list[Judgement]:
        """Return the judgement of the last of the rows (rows, tags) given with each detector."""
        judgements: list[Judgement | None] = [None] * len(asked)
        for number, places in self._seat(asked).items():
            panel = self._panels[number]
            windows: list[Matrix | None] = [None] * panel.machines
            for place, turn in places.items():
                detector, values = asked[turn]
                windows[place] = values[-detector.reach_rows :]
            found = panel.judge(windows)
            for place, turn in places.items():
                judgements[turn] = found[place]
        return [
            detector.judge(values, 1) if judgement is None else judgement
            for (detector, values), judgement in zip(asked, judgements, strict=True)
        ]

    def _seat(self, asked: Sequence[tuple[Detector, Matrix]]) -> dict[int, dict[int, int]]:
        """Return, by panel and place on it, whose turn is judged there; a place has one turn only."""
        seated: dict[int, dict[int, int]] = {}
        for turn, (detector, values) in enumerate(asked):
            seat = self._places.get(id(detector))
            if seat is not None and len(values) >= detector.reach_rows:
                seated.setdefault(seat[0], {}).setdefault(seat[1], turn)
        return seated


def judge_many(seating: Seating, asked: Sequence[tuple[Bundle, Prepared]]) -> list[Verdict]:
    """Return the verdict on the last of each bundle's prepared rows."""
    judgements = seating.judge([(bundle.detector, prepared.values) for bundle, prepared in asked])
    return [
        finish_rows(bundle, prepared, judgement)
        for (bundle, prepared), judgement in zip(asked, judgements, strict=True)
    ]
