"""What a machine is learned from: the tags that can be judged, their rows, and how the machine was run."""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.anomaly.conditions import ConditionRejected, RunningCondition
from models.anomaly.detectors import TrainingRejected
from models.anomaly.features import Mask, Matrix
from models.anomaly.grid import NS_PER_S, GridRows, hold_last, put_on_grid, step_ns
from models.anomaly.health import TagHealth, learn_health
from models.anomaly.ranges import declare_bounds, find_impossible
from models.anomaly.running import RunningPlan, Ways, find_conditions, learn_ways

TAG_SHARE_MIN = 0.6
GRID_ROWS_MAX = 20_000_000


class Wishes(msgspec.Struct, frozen=True):
    """What is known of a machine beforehand: how it runs, and `ranges` (low, high) of its sensors by tag."""

    running: RunningPlan = RunningPlan()
    ranges: dict[str, tuple[float, float]] = {}


class Material(msgspec.Struct, frozen=True):
    """Rows to learn from: `rows` (rows, tags) is what a detector is given, in its regime's units with `ways`.

    `left_out` says of every other tag why it cannot be judged.
    """

    tags: list[str]
    left_out: dict[str, str]
    health: TagHealth
    rows: Matrix
    ways: Ways | None


def gather_material(
    timestamps: NDArray[np.int64],
    values: Mapping[str, NDArray[np.float64]],
    codes: Mapping[str, NDArray[np.uint32]],
    grid_s: float,
    wishes: Wishes,
) -> Material:
    """Return what there is to learn from samples (see `train_bundle`); raise `TrainingRejected`."""
    if not len(timestamps):
        raise TrainingRejected("there are no values to learn from")
    rows = int((timestamps[-1] - timestamps[0]) // step_ns(grid_s)) + 1
    if rows > GRID_ROWS_MAX:
        raise TrainingRejected(
            f"{rows} rows on the grid are more than {GRID_ROWS_MAX}: take a shorter span or a wider grid"
        )
    tags = sorted(values)
    everything = put_on_grid(timestamps, values, codes, tags, step_ns(grid_s))
    left_out = _find_obstacles(everything, tags)
    kept = [tag for tag in tags if tag not in left_out]
    try:
        conditions = _find_conditions(everything, tags, wishes.running)
        if not conditions:
            health, believed = _believe(_pick(everything, tags, kept), kept, wishes)
            return Material(kept, left_out, health, believed, None)
        return _gather_by_ways(everything, tags, kept, left_out, conditions, grid_s, wishes)
    except ConditionRejected as error:
        raise TrainingRejected(str(error)) from error


def _find_conditions(everything: GridRows, tags: list[str], plan: RunningPlan) -> list[RunningCondition]:
    return find_conditions(plan, hold_last(everything), tags) if plan.tags else []


def _gather_by_ways(
    everything: GridRows,
    tags: list[str],
    kept: list[str],
    left_out: dict[str, str],
    conditions: list[RunningCondition],
    grid_s: float,
    wishes: Wishes,
) -> Material:
    """Return the rows in the units of their way of running; tags that say nothing within one are left out."""
    plan = wishes.running
    settle_rows = round(plan.settle_s * NS_PER_S / step_ns(grid_s))
    asked = list(dict.fromkeys(one.tag for one in conditions))
    for _ in range(2):
        signals = [tag for tag in asked if tag not in kept]
        grid = _pick(everything, tags, [*kept, *signals])
        health, believed = _believe(grid.take_columns(len(kept)), kept, wishes)
        ways = learn_ways(plan, conditions, believed, hold_last(grid), [*kept, *signals], settle_rows)
        if ways.varying.all():
            break
        still = [tag for tag, varies in zip(kept, ways.varying, strict=True) if not varies]
        left_out = left_out | dict.fromkeys(still, "always the same in each way of running while learning")
        kept = [tag for tag in kept if tag not in still]
        if not kept:
            raise TrainingRejected(
                f"no tag changes within a way of running ({', '.join(map(str, conditions))})"
            )
    return Material(kept, left_out, health, ways.units, ways)


def _believe(grid: GridRows, tags: Sequence[str], wishes: Wishes) -> tuple[TagHealth, Matrix]:
    """Return the tags' habits, and their held values without what no machine can have made."""
    health = learn_health(grid, declare_bounds(tags, wishes.ranges))
    assert health.ranges is not None  # they were just learned
    held = hold_last(grid)
    wrong: Mask = find_impossible(held, health.ranges)
    return health, np.where(wrong, np.nan, held)


def _pick(everything: GridRows, tags: list[str], wanted: Sequence[str]) -> GridRows:
    columns = [tags.index(tag) for tag in wanted]
    return GridRows(everything.first, everything.values[:, columns], everything.bad[:, columns])


def _find_obstacles(grid: GridRows, tags: Sequence[str]) -> dict[str, str]:
    """Return why tags cannot be learned from, by tag; raise `TrainingRejected` when that is all of them."""
    held = hold_last(grid)
    found = {
        tag: reason
        for column, tag in enumerate(tags)
        if (reason := _find_obstacle(grid.values[:, column], held[:, column]))
    }
    if len(found) == len(tags):
        reasons = ", ".join(f"{tag}: {reason}" for tag, reason in found.items())
        raise TrainingRejected(f"no tag can be learned from ({reasons or 'there are none'})")
    return found


def _find_obstacle(samples: NDArray[np.float64], held: NDArray[np.float64]) -> str:
    """Return why a tag cannot be learned from, or nothing."""
    said = samples[~np.isnan(samples)]
    if not len(said):
        return "no good value while learning"
    if said.min() == said.max():
        return f"always {said[0]:g} while learning"
    share = 1.0 - float(np.isnan(held).mean())
    return f"a value in only {share:.0%} of the rows" if share < TAG_SHARE_MIN else ""
