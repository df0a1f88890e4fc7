"""Takes the waveforms out of what an OPC UA server tells: array nodes whose features are wanted."""

from array import array
from collections.abc import Sequence
from typing import Any

from edge.drivers.columns import Rows
from edge.drivers.gathering import Gatherer
from edge.drivers.opcua.settings import OpcuaMachineSettings
from edge.vibration.desk import Desk
from models.telemetry import Frame, Gap, quality


class OpcuaWaveforms:
    """The waveforms of one machine; one without any costs nothing."""

    def __init__(self, settings: OpcuaMachineSettings) -> None:
        self.places = {place: tag.name for place, tag in enumerate(settings.tags) if tag.waveform is not None}
        """The names of the tags that are waveforms, by their places."""
        self._names = [tag.name for tag in settings.tags]
        self._desk = Desk(str(settings.path), settings.tags) if self.places else None
        self._arrived: list[tuple[Rows, int]] = []

    def begin(self, held: Sequence[Rows]) -> None:
        """The machine is connected anew, and holds this: a waveform comes rarely, so none is passed over."""
        if self._desk is not None:
            self._arrived = []
            self._desk.begin()
            self._desk.note_speeds(Gatherer(self._names).gather(self.part(held)))

    def part(self, blocks: Sequence[Rows]) -> list[Rows]:
        """Return the rows of single values; `compute` has those of waveforms."""
        if self._desk is None:
            return list(blocks)
        return [rows if self.places.keys().isdisjoint(rows.places) else self._part(rows) for rows in blocks]

    async def compute(self, frames: Sequence[Frame], interval_s: float) -> list[Frame]:
        """Return the features that are computed, as frames; `frames` may tell how fast the machine turns."""
        desk = self._desk
        if desk is None:
            return []
        desk.note_speeds(frames)
        for rows, row in self._arrived:
            self._put(desk, rows, row)
        self._arrived = []
        await desk.settle(interval_s)
        return desk.take()

    def take_gaps(self) -> list[Gap]:
        """Return the waveforms that did not come to features."""
        return [] if self._desk is None else self._desk.take_gaps()

    def _part(self, rows: Rows) -> Rows:
        kept, overflowed = Rows(), set(rows.overflowed)
        for row, place in enumerate(rows.places):
            if place in self.places:
                self._arrived.append((rows, row))
                continue
            if row in overflowed:
                kept.overflowed.append(len(kept.places))
            if row in rows.arrays:
                kept.arrays[len(kept.places)] = rows.arrays[row]
            kept.add(place, rows.timestamps[row], rows.values[row], rows.codes.get(row, quality.GOOD))
        return kept

    def _put(self, desk: Desk, rows: Rows, row: int) -> None:
        tag, time_ns = self.places[rows.places[row]], rows.timestamps[row]
        if row in rows.overflowed:
            detail = "at least one waveform: the server's queue of this tag overflowed"
            desk.note_lost(tag, desk.find_last_ns(tag) or time_ns - 1, time_ns, "overflow", detail)
        if row not in rows.arrays:
            code, reason = rows.codes.get(row, quality.BAD_TYPE_MISMATCH), ""
            if not quality.is_bad(code) or code == quality.BAD_TYPE_MISMATCH:
                code, reason = quality.BAD_TYPE_MISMATCH, "the node holds no array of numbers"
            desk.refuse(tag, time_ns, code, reason)
            return
        numbers, code = rows.arrays[row]
        samples = take_samples(numbers, desk.settings[tag].samples)
        if samples is None:
            reason = "the node holds an array of something else than numbers"
            desk.refuse(tag, time_ns, quality.BAD_TYPE_MISMATCH, reason)
        elif len(samples) < desk.settings[tag].samples:
            reason = (
                f"the node holds {len(samples)} values, and the settings say samples: "
                f"{desk.settings[tag].samples}: say no more than there are"
            )
            desk.refuse(tag, time_ns, quality.BAD_OUT_OF_RANGE, reason)
        else:
            desk.put(tag, time_ns, samples, code)


def take_samples(numbers: list[Any], count: int) -> "array[float] | None":
    """Return the first `count` of an array, fewer where it has fewer; None where they are no numbers."""
    try:
        return array("d", numbers[:count])
    except TypeError:
        return None
