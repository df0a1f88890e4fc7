"""The detector on recordings of a real pump rig (SKAB): learn from the first 400 s, judge the rest."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from models.anomaly.features import Matrix
from models.anomaly.grid import put_on_grid, step_ns
from models.anomaly.judging import judge_rows
from models.anomaly.tables import TagTable, read_table
from models.anomaly.training import train_bundle

LEARNED = 400
LABELS = ("anomaly", "changepoint")
FLOOR = 0.83
"""Mean area under the ROC curve; 0.88 was measured on the 17 files that are there."""
LEAD_OVER_FOREST = 0.08
"""IsolationForest on raw rows reached 0.72."""


def list_experiments(recordings: Path) -> Iterator[tuple[TagTable, Matrix]]:
    """Yield each experiment's tags and, row by row, whether it is labelled as trouble."""
    for file in sorted((recordings / "skab").glob("[vo]*/*.csv")):
        table = read_table(file, None)
        tags = {tag: column for tag, column in table.values.items() if tag not in LABELS}
        yield TagTable(table.timestamps, tags), table.values["anomaly"]


def score(table: TagTable) -> Matrix:
    """Return the score at each of the table's rows, NaN where there is none."""
    learned = table.head(LEARNED)
    bundle = train_bundle("a/b/c/rig", learned.timestamps, learned.values, {}, grid_s=1.0, trained_ns=1)
    grid_ns = step_ns(1.0)
    grid = put_on_grid(table.timestamps, table.values, {}, bundle.card.tags, grid_ns)
    verdict = judge_rows(bundle, grid, len(grid.values))
    return verdict.judgement.score[table.timestamps // grid_ns - grid.first]


def test_it_ranks_trouble_above_health_and_beats_the_usual_forest(recordings: Path) -> None:
    """On average over the experiments; nothing of the judged part was seen while learning."""
    ours, forests = [], []
    for table, trouble in list_experiments(recordings):
        scores = score(table)[LEARNED:]
        labels = trouble[LEARNED:]
        judged = np.isfinite(scores)
        assert judged.mean() > 0.8
        ours.append(roc_auc_score(labels[judged], scores[judged]))
        rows = np.column_stack(list(table.values.values()))
        forest = IsolationForest(random_state=0).fit(rows[:LEARNED])
        forests.append(roc_auc_score(labels[judged], -forest.score_samples(rows[LEARNED:])[judged]))
    assert len(ours) >= 3
    print(f"SKAB, {len(ours)} experiments: ours {np.mean(ours):.3f}, IsolationForest {np.mean(forests):.3f}")
    assert np.mean(ours) > FLOOR
    assert np.mean(ours) > np.mean(forests) + LEAD_OVER_FOREST
    assert np.mean(np.array(ours) > 0.6) > 0.8
