"""What a machine insists on when it is asked for registers, as its settings say it."""

from collections.abc import Sequence

from pydantic import Field, ValidationInfo, field_validator

from edge.drivers.modbus.registers import ADDRESS_MAX, WORDS_MAX, Quirks, Span, Table
from models.settings import Settings

SPANS_MAX = 256


class SpanSettings(Settings):
    """Addresses of one table, `first` and `last` included, counted from 0."""

    table: Table
    first: int = Field(ge=0, le=ADDRESS_MAX)
    last: int = Field(ge=0, le=ADDRESS_MAX)

    @field_validator("last")
    @classmethod
    def _is_not_before_first(cls, last: int, info: ValidationInfo) -> int:
        first = info.data.get("first")
        if first is not None and last < first:
            raise ValueError(f"{last} is before first ({first})")
        return last


class QuirkSettings(Settings):
    """What the manual calls restrictions on addressing; nothing unless said.

    `start_multiple`: a request for registers begins at a multiple of this address; `count_multiple`: and asks
    for a multiple of so many. `whole`: registers that must be read together, from the first to the last.
    `skip`: addresses that no request may touch, not even to read through them. `single`: tables of which a
    request may read one value only.
    """

    start_multiple: int = Field(default=1, ge=1, le=WORDS_MAX)
    count_multiple: int = Field(default=1, ge=1, le=WORDS_MAX)
    whole: tuple[SpanSettings, ...] = Field(default=(), max_length=SPANS_MAX)
    skip: tuple[SpanSettings, ...] = Field(default=(), max_length=SPANS_MAX)
    single: tuple[Table, ...] = ()

    @field_validator("whole", "skip")
    @classmethod
    def _are_apart(cls, spans: tuple[SpanSettings, ...]) -> tuple[SpanSettings, ...]:
        last: dict[Table, SpanSettings] = {}
        for span in sorted(spans, key=lambda one: one.first):
            before = last.get(span.table)
            if before is not None and span.first <= before.last:
                raise ValueError(
                    f"{span.table} {before.first}..{before.last} and {span.first}..{span.last} overlap: "
                    "make one span of them"
                )
            last[span.table] = span
        return spans

    def build(self) -> Quirks:
        """Return what the planner goes by."""
        return Quirks(
            start_multiple=self.start_multiple,
            count_multiple=self.count_multiple,
            whole=_make_spans(self.whole),
            skip=_make_spans(self.skip),
            single=frozenset(self.single),
        )


def _make_spans(spans: Sequence[SpanSettings]) -> tuple[Span, ...]:
    return tuple(Span(span.table, span.first, span.last + 1) for span in spans)
