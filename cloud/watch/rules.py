"""Rules of machines: how they are run, and what their sensors can read, as the settings declare it."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from models.anomaly.conditions import ConditionRejected, RunningCondition, parse_condition
from models.anomaly.material import Wishes
from models.anomaly.running import CONDITIONS_MAX, LOAD_TAGS_MAX, SETTLE_S, RunningPlan
from models.settings import Settings
from models.telemetry import MachinePath

PATTERN = re.compile(r"[a-z0-9_*-]+(/[a-z0-9_*-]+){3}")


class MachineRule(Settings):
    """How the machines whose paths fit `machines` are run, and what their sensors can read.

    `running`: conditions; each combination of them is a way of running that is normal in its own way.
    `running_by`: load tags in which ways of running are looked for instead. Nothing is judged for `settle_s`
    after a change. `ranges`: the lowest and the highest reading of a tag's sensor; beyond is its fault. All
    of it counts for models trained from now on.
    """

    machines: str
    running: list[str] = Field(default=[], max_length=CONDITIONS_MAX)
    running_by: list[str] = Field(default=[], max_length=LOAD_TAGS_MAX)
    settle_s: float = Field(default=SETTLE_S, ge=0.0, le=86_400.0)
    ranges: dict[str, Annotated[list[float], Field(min_length=2, max_length=2)]] = {}

    @field_validator("machines")
    @classmethod
    def _check_pattern(cls, pattern: str) -> str:
        if not PATTERN.fullmatch(pattern):
            raise ValueError(
                f"{pattern!r} is no path of machines: write site/area/line/machine; "
                "* stands for any letters, as in riverside/*/*/pump-*"
            )
        return pattern

    @field_validator("running")
    @classmethod
    def _check_conditions(cls, conditions: list[str]) -> list[str]:
        for text in conditions:
            _parse(text)
        return conditions

    @field_validator("ranges")
    @classmethod
    def _check_ranges(cls, ranges: dict[str, list[float]]) -> dict[str, list[float]]:
        for tag, (low, high) in ranges.items():
            if not low < high:
                raise ValueError(f"{tag}: [{low:g}, {high:g}] is no range: write the lower end first")
        return ranges

    @model_validator(mode="after")
    def _choose_one(self) -> "MachineRule":
        if self.running and self.running_by:
            raise ValueError(
                "running and running_by exclude each other: declare the conditions, or have them found"
            )
        return self

    def fits(self, machine: MachinePath) -> bool:
        """Return whether the rule is about the machine."""
        words = zip(self.machines.split("/"), str(machine).split("/"), strict=True)
        return all(fnmatchcase(word, pattern) for pattern, word in words)

    def make_wishes(self) -> Wishes:
        """Return what training needs to know."""
        plan = RunningPlan([_parse(text) for text in self.running], self.running_by, self.settle_s)
        return Wishes(plan, {tag: (low, high) for tag, (low, high) in self.ranges.items()})


def find_wishes(rules: Sequence[MachineRule], machine: MachinePath) -> Wishes:
    """Return what the first rule that fits says of the machine."""
    return next((rule.make_wishes() for rule in rules if rule.fits(machine)), Wishes())


def _parse(text: str) -> RunningCondition:
    try:
        return parse_condition(text)
    except ConditionRejected as error:
        raise ValueError(str(error)) from error
