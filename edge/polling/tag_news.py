"""Says once that a tag is stuck, and once that it moves again."""

from collections.abc import Iterable

import structlog

from edge.polling.tag_filter import TagNews
from models.telemetry import MachinePath
from models.words import say_duration

log = structlog.get_logger()


def say_tag_news(machine: MachinePath, news: Iterable[TagNews]) -> None:
    """Log what happened to the machine's tags."""
    for one in news:
        stood = say_duration((one.now_ns - one.since_ns) / 1e9)
        if one.what == "stuck":
            log.warning(
                "tag_stuck",
                machine=str(machine),
                tag=one.tag,
                value=one.value,
                unchanged_for=stood,
                mend="look at the sensor and its cable; the values go on, marked UncertainLastUsableValue",
            )
        else:
            log.info("tag_moves_again", machine=str(machine), tag=one.tag, after=stood)
