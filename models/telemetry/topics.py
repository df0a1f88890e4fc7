"""MQTT topics and machine paths: who says what where."""

import re
from typing import Self

import msgspec

from models.errors import ForewarnError

SEGMENT = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
SEGMENT_WORDS = "1 to 64 of a-z 0-9 _ -, beginning with a letter or digit"


class TopicRejected(ForewarnError):
    """The topic or path is not one of ours; the message says which part."""


class MachinePath(msgspec.Struct, frozen=True, order=True):
    """Where a machine stands: `site/area/line/machine` (ISA-95)."""

    site: str
    area: str
    line: str
    machine: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the path written as `site/area/line/machine`; raise `TopicRejected`."""
        segments = text.split("/")
        if len(segments) != 4:
            raise TopicRejected(f"{text!r} is not site/area/line/machine (it has {len(segments)} parts)")
        for segment in segments:
            _check_segment(segment, text)
        return cls(*segments)

    def __str__(self) -> str:
        return f"{self.site}/{self.area}/{self.line}/{self.machine}"


class BatchTopic(msgspec.Struct, frozen=True):
    """`<namespace>/v1/<gateway>/data/<site>/<area>/<line>/<machine>`"""

    gateway: str
    machine: MachinePath


class StatusTopic(msgspec.Struct, frozen=True):
    """`<namespace>/v1/<gateway>/status`"""

    gateway: str


class Topics:
    """The topics below one namespace. The gateway stands first, so one broker rule fences each gateway in."""

    def __init__(self, namespace: str = "forewarn") -> None:
        self._root = f"{namespace}/v1"

    def batch(self, gateway: str, machine: MachinePath) -> str:
        """Return where `gateway` publishes the batches of `machine`."""
        return f"{self._root}/{gateway}/data/{machine}"

    def status(self, gateway: str) -> str:
        """Return where `gateway` keeps its retained status."""
        return f"{self._root}/{gateway}/status"

    def receipt(self, gateway: str) -> str:
        """Return where the cloud tells `gateway` what is stored."""
        return f"{self._root}/{gateway}/receipt"

    def all_batches(self) -> str:
        """Return the filter over the batches of every gateway."""
        return f"{self._root}/+/data/#"

    def all_statuses(self) -> str:
        """Return the filter over the statuses of every gateway."""
        return f"{self._root}/+/status"

    def parse(self, topic: str) -> BatchTopic | StatusTopic:
        """Return what a gateway says on `topic`; raise `TopicRejected` when it is none of ours."""
        gateway, _, rest = topic.removeprefix(f"{self._root}/").partition("/")
        if not topic.startswith(f"{self._root}/"):
            raise TopicRejected(f"topic {topic[:200]!r} is not below {self._root}/")
        _check_segment(gateway, topic)
        if rest == "status":
            return StatusTopic(gateway)
        if rest.startswith("data/"):
            return BatchTopic(gateway, MachinePath.parse(rest.removeprefix("data/")))
        raise TopicRejected(f"topic {topic[:200]!r} is neither data nor status")


def _check_segment(segment: str, whole: str) -> None:
    if not SEGMENT.fullmatch(segment):
        raise TopicRejected(f"{segment[:80]!r} in {whole[:200]!r} is not {SEGMENT_WORDS}")
