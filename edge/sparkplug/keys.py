"""How values are named on the wire, and rows of metrics made ready to be filled in."""

from collections.abc import Mapping

import msgspec

from edge.sparkplug.payload import DOUBLE, encode_varint

STAMP_BYTES = 6
STAMP_MIN, STAMP_MAX = 1 << 35, (1 << 42) - 1
"""Milliseconds that take six bytes: 1971 to 2109."""
ROWS_MAX = 256  # a machine has as many as it has interval groups, times what is bad in them


class MetricKey(msgspec.Struct, frozen=True):
    """How the values of a tag are named: by alias, or in full by name, and then with their data type."""

    datatype: int
    alias: int | None = None
    name: str | None = None

    @property
    def said_datatype(self) -> int | None:
        """The data type, where every value says it."""
        return self.datatype if self.name is not None else None

    def encode(self) -> bytes:
        """Return these fields of a metric."""
        alias = b"" if self.alias is None else b"\x10" + encode_varint(self.alias)
        if self.name is None:
            return alias
        name = self.name.encode()
        return b"\x0a" + encode_varint(len(name)) + name + alias + b"\x20" + encode_varint(self.datatype)


class MetricRow(msgspec.Struct, frozen=True):
    """The metrics of some double tags at one instant, of equal size, with room for the stamp and the values.

    `stamp_at`: where in each metric its stamp begins; its last eight bytes are its value.
    """

    tags: list[str]
    content: bytes
    metric_bytes: int
    stamp_at: int


class RowPlan(msgspec.Struct, frozen=True):
    """Rows for some tags: one for each length of key. `others` are no doubles."""

    rows: list[MetricRow]
    others: list[str]


class TagKeys:
    """The keys of a machine's tags, and the rows that were made of them."""

    def __init__(self, keys: Mapping[str, MetricKey] | None = None) -> None:
        self._keys: dict[str, MetricKey] = dict(keys or {})
        self._plans: dict[tuple[tuple[str, ...], bool], RowPlan] = {}

    def __getitem__(self, tag: str) -> MetricKey:
        return self._keys[tag]

    def add(self, tag: str, key: MetricKey) -> None:
        """Name one more tag."""
        self._keys[tag] = key

    def plan(self, tags: tuple[str, ...], *, is_historical: bool) -> RowPlan:
        """Return the rows for these tags; the same tags come again and again, so they are kept."""
        plan = self._plans.get((tags, is_historical))
        if plan is None:
            if len(self._plans) >= ROWS_MAX:
                self._plans.clear()
            plan = self._plans[(tags, is_historical)] = self._make_plan(tags, is_historical)
        return plan

    def _make_plan(self, tags: tuple[str, ...], is_historical: bool) -> RowPlan:
        by_length: dict[int, dict[str, bytes]] = {}
        others = []
        for tag in tags:
            key = self._keys[tag].encode()
            if self._keys[tag].datatype == DOUBLE:
                by_length.setdefault(len(key), {})[tag] = key
            else:
                others.append(tag)
        return RowPlan([_make_row(keys, is_historical) for keys in by_length.values()], others)


def _make_row(keys: dict[str, bytes], is_historical: bool) -> MetricRow:
    flag = b"\x28\x01" if is_historical else b""
    bodies = [b"\x18" + bytes(STAMP_BYTES) + key + flag + b"\x69" + bytes(8) for key in keys.values()]
    head = b"\x12" + encode_varint(len(bodies[0]))
    return MetricRow(
        list(keys),
        b"".join([head + body for body in bodies]),
        len(head) + len(bodies[0]),
        len(head) + 1,
    )
