"""What people call a machine and its tags: cards written in the settings, with sane words for the rest."""

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, PlainValidator

from models.settings import Settings
from models.telemetry import MachinePath, TopicRejected


def _parse_path(value: object) -> MachinePath:
    if isinstance(value, MachinePath):
        return value
    try:
        return MachinePath.parse(str(value))
    except TopicRejected as error:
        raise ValueError(str(error)) from error


class TagCard(Settings):
    """What people call a tag. `high` is the fixed limit of old: a line in plots, never used by the model."""

    title: str = Field(default="", max_length=128)
    unit: str = Field(default="", max_length=32)
    high: float | None = None


class MachineCard(Settings):
    """What people call a machine; `type` names the advice (configs/machine-types/<type>.yaml)."""

    path: Annotated[MachinePath, PlainValidator(_parse_path)]
    type: str = Field(default="", pattern=r"^[a-z0-9_-]{0,64}$")
    title: str = Field(default="", max_length=128)
    tags: dict[str, TagCard] = {}

    def tag(self, name: str) -> TagCard:
        """Return the card of a tag, with a title made from its name when nobody wrote one."""
        card = self.tags.get(name, _NO_TAG_CARD)
        return card if card.title else card.model_copy(update={"title": title_of(name)})


_NO_TAG_CARD = TagCard()


class CardBox:
    """The cards of all machines: also those that nobody described."""

    def __init__(self, cards: Sequence[MachineCard] = ()) -> None:
        self._cards = {card.path: _complete(card) for card in cards}

    def of(self, machine: MachinePath) -> MachineCard:
        """Return the card of `machine`, its `title` and `type` never empty."""
        return self._cards.get(machine) or _complete(MachineCard(path=machine))

    def list_units(self, machine: MachinePath) -> dict[str, str]:
        """Return the units of the machine's tags by tag, as far as somebody wrote them down."""
        return {tag: card.unit for tag, card in self.of(machine).tags.items() if card.unit}


def title_of(name: str) -> str:
    """Return a name as a person would write it: `bearing_temperature` as `Bearing temperature`."""
    words = re.sub(r"[_\s]+|(?<=[A-Za-z])-(?=[A-Za-z0-9])", " ", name).strip() or name
    return words[0].upper() + words[1:]


def _complete(card: MachineCard) -> MachineCard:
    # A pump is nearly always called pump-something: its kind's advice is better than none.
    kind = re.split(r"[-_\d]", card.path.machine)[0]
    return card.model_copy(
        update={"title": card.title or title_of(card.path.machine), "type": card.type or kind or "generic"}
    )
