"""What to check, by machine type and blamed tags: rules in YAML, matched by the words of tag names."""

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
from pydantic import Field

from cloud.watch.observations import Contribution
from models.settings import Settings, SettingsError, load_settings

GENERIC = "generic"
DIRECTIONS = {"high": 1, "low": -1}
MISSING_PENALTY = 0.2

_SAME_WORDS = {
    "temp": "temperature", "tmp": "temperature", "vib": "vibration", "vibrations": "vibration",
    "press": "pressure", "amps": "current", "amp": "current", "amperage": "current", "curr": "current",
    "brg": "bearing", "bearings": "bearing", "rpm": "speed", "pwr": "power",
    "suct": "suction", "inlet": "suction", "disch": "discharge", "outlet": "discharge",
    "flowrate": "flow", "lube": "oil", "lubricant": "oil", "windings": "winding",
    "volts": "voltage", "volt": "voltage", "diff": "differential", "delta": "differential",
}  # fmt: skip


class AdviceRule(Settings):
    """When these tags stand out it `says` what it looks like, and what to check.

    A pattern is words that a tag's name must hold, in any order: `bearing temperature`; a last word `high`
    or `low` asks for that direction too: `flow low`.
    """

    tags: list[str] = Field(min_length=1)
    says: str = Field(min_length=1)
    check: list[str] = Field(min_length=1)


class MachineType(Settings):
    """The advice for one type of machine: rules, and what to check when none of them fits."""

    title: str
    rules: list[AdviceRule] = []
    otherwise: list[str] = Field(min_length=1)
    faulty_tag: list[str] = Field(min_length=1)


class Advice(msgspec.Struct, frozen=True):
    """What it looks like (empty when no rule fits), and what to check, most likely first."""

    cause: str
    check: list[str]


class Adviser:
    """Advice for every machine type that a folder describes; `generic` must be among them."""

    def __init__(self, types: dict[str, MachineType]) -> None:
        self._types = types

    def advise(self, machine_type: str, blamed: Sequence[Contribution]) -> Advice:
        """Return what the blamed tags (strongest first) look like on such a machine, and what to check."""
        kind = self._types.get(machine_type, self._types[GENERIC])
        rated = [(rate_rule(rule, blamed), rule) for rule in kind.rules]
        best = max(rated, key=lambda pair: pair[0], default=None)
        if best is None or best[0] <= 0:
            return Advice("", list(kind.otherwise))
        return Advice(best[1].says, list(best[1].check))

    def advise_on_tags(self, machine_type: str) -> Advice:
        """Return what to check when a tag cannot be believed."""
        kind = self._types.get(machine_type, self._types[GENERIC])
        return Advice("Sensor, wiring or link fault", list(kind.faulty_tag))


def load_adviser(folder: Path | None = None) -> Adviser:
    """Read every `<type>.yaml` of `folder` (None: what Forewarn ships); raise `SettingsError`."""
    folder = folder or find_shipped_advice()
    types = {path.stem: load_settings(path, MachineType) for path in sorted(folder.glob("*.yaml"))}
    if GENERIC not in types:
        raise SettingsError(
            f"{folder}: has no {GENERIC}.yaml, the advice for machines without a type of their own: "
            "check alerts.advice, or leave it out to use what Forewarn ships"
        )
    return Adviser(types)


def find_shipped_advice() -> Path:
    """Return the folder of machine types, in a checkout or beside an installed package."""
    root = Path(__file__).parents[2]
    checkout, installed = root / "configs" / "machine-types", root / "forewarn" / "configs" / "machine-types"
    return checkout if checkout.is_dir() else installed


def rate_rule(rule: AdviceRule, blamed: Sequence[Contribution]) -> float:
    """Return how well a rule fits: each pattern earns 1, 1/2, 1/3 by the rank of the tag that it names.

    A pattern without a tag costs a little, and a rule that does not name the strongest tag does not fit.
    """
    score, names_strongest = 0.0, False
    taken: set[int] = set()
    for pattern in rule.tags:
        rank = next(
            (i for i, part in enumerate(blamed) if i not in taken and matches_pattern(pattern, part)), None
        )
        if rank is None:
            score -= MISSING_PENALTY
            continue
        taken.add(rank)
        score += 1 / (rank + 1)
        names_strongest = names_strongest or rank == 0
    return score if names_strongest else 0.0


def matches_pattern(pattern: str, part: Contribution) -> bool:
    """Return whether the tag's name holds the pattern's words, and its deviation the pattern's direction."""
    words = pattern.lower().split()
    direction = DIRECTIONS.get(words[-1])
    if direction is not None:
        words = words[:-1]
    if direction is not None and part.sigma * direction <= 0:
        return False
    return {_SAME_WORDS.get(word, word) for word in words} <= split_words(part.tag)


def split_words(tag: str) -> set[str]:
    """Return the words of a tag's name, abbreviations spelt out: `BrgTemp_DE1` is bearing temperature de."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", tag)
    return {_SAME_WORDS.get(word, word) for word in re.findall(r"[a-z]+", spaced.lower())}
