"""What verdicts say: as observations for alerts and the console, and as blocks for the store. Pure."""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from cloud.stores import Block, Measurement
from cloud.watch.observations import Contribution, MachineState, Observation
from models.anomaly.detectors import Judgement
from models.anomaly.features import Matrix
from models.anomaly.judging import Verdict
from models.telemetry import Column, Frame, MachinePath


def describe_verdict(machine: MachinePath, verdict: Verdict, trouble: str) -> list[Observation]:
    """Return the rows of a verdict as observations; `trouble` is why a newer model is not in charge."""
    seen = []
    for row, timestamp in enumerate(verdict.timestamps.tolist()):
        is_judged = verdict.is_judged(row)
        causes = verdict.name_causes(row)
        seen.append(
            Observation(
                machine,
                timestamp,
                name_state(verdict, row),
                score=float(verdict.judgement.score[row]) if is_judged else None,
                limit=verdict.limit if is_judged else None,
                coverage=float(verdict.judgement.coverage[row]),
                contributions=[Contribution(one.tag, one.value, one.expected, one.sigma) for one in causes],
                faulty_tags=verdict.faulty_tags,
                reason=trouble if is_judged else verdict.reason or "too few values",
                calm=verdict.calm,
            )
        )
    return seen


def name_state(verdict: Verdict, row: int) -> MachineState:
    """Return what a row's verdict says of the machine."""
    if verdict.is_judged(row):
        return "judged"
    return "unknown_running" if verdict.is_running_unknown else "cannot_judge"


def join_verdicts(verdicts: Sequence[Verdict]) -> Verdict:
    """Return consecutive verdicts as one; faulty tags and reason are the last one's."""
    if len(verdicts) == 1:
        return verdicts[0]
    judgements = [verdict.judgement for verdict in verdicts]
    columns = zip(*(msgspec.structs.astuple(one) for one in judgements), strict=True)
    return msgspec.structs.replace(
        verdicts[-1],
        timestamps=np.concatenate([verdict.timestamps for verdict in verdicts]),
        judgement=Judgement(*(np.concatenate(column) for column in columns)),
    )


def make_blocks(machine: MachinePath, verdict: Verdict) -> list[Block]:
    """Return the judged rows of a verdict as they are stored: score, expected values, contributions."""
    judgement = verdict.judgement
    judged = np.isfinite(judgement.score)
    if not judged.any():
        return []
    rows = slice(None) if judged.all() else np.flatnonzero(judged)
    times = verdict.timestamps[rows].tolist()
    scores: dict[str, Column] = {
        "score": judgement.score[rows].tolist(),
        "limit": [verdict.limit] * len(times),
        "coverage": judgement.coverage[rows].tolist(),
    }
    blocks = [Block("score", machine, [Frame(times, scores)])]
    tables: tuple[tuple[Measurement, Matrix], ...] = (
        ("expected", judgement.expected[rows]),
        ("contribution", judgement.sigma[rows]),
    )
    for measurement, table in tables:
        columns: dict[str, Column] = dict(zip(verdict.tags, table.T.tolist(), strict=True))
        if np.isnan(table).any():
            columns = _leave_out_missing(columns)
        if columns:
            blocks.append(Block(measurement, machine, [Frame(times, columns)]))
    return blocks


def _leave_out_missing(columns: dict[str, Column]) -> dict[str, Column]:
    """Return the columns with None for NaN, without those that have nothing else."""
    filled = {
        tag: [None if value is None or math.isnan(value) else value for value in values]
        for tag, values in columns.items()
    }
    return {tag: values for tag, values in filled.items() if values.count(None) < len(values)}
