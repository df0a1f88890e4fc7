"""Arrays among the rows of OPC UA answers: kept beside the numbers, parted from them, never lost silently."""

import struct
from typing import Any

import pytest
from asyncua import ua

from edge.drivers.columns import Rows, join_rows
from edge.drivers.modbus.decoding import read_samples
from edge.drivers.opcua.reading import make_rows
from edge.drivers.opcua.settings import OpcuaMachineSettings
from edge.drivers.opcua.waveforms import OpcuaWaveforms, take_samples
from models.telemetry import Frame, quality
from tests.unit.vibration_rig import make_noise

SAMPLES = 64
NOISE = list(make_noise(1, SAMPLES))


def make_waveforms() -> OpcuaWaveforms:
    waveform = {"samples": SAMPLES, "rate_hz": 5_120, "features": ["rms", "peak"]}
    tags: list[dict[str, Any]] = [{"name": name, "node_id": f"ns=2;s={name}"} for name in ("a", "w", "b")]
    tags[1]["waveform"] = waveform
    return OpcuaWaveforms(
        OpcuaMachineSettings.model_validate(
            {"kind": "opcua", "path": "s/a/l/m", "url": "opc.tcp://h:1", "allow_insecure": True, "tags": tags}
        )
    )


async def compute(waveforms: OpcuaWaveforms) -> list[Frame]:
    return await waveforms.compute([], 10.0)


def test_a_librarys_array_is_kept_beside_the_row() -> None:
    """The row itself is of a wrong type, as ever; the numbers stand beside it with their own code."""
    uncertain = ua.StatusCode(quality.UNCERTAIN_SUB_NORMAL)
    answers = [
        ua.DataValue(ua.Variant(1.5, ua.VariantType.Double)),
        ua.DataValue(ua.Variant([1.0, 2.0], ua.VariantType.Double), uncertain),
        ua.DataValue(ua.Variant([1.0, 2.0], ua.VariantType.Double), ua.StatusCode(quality.BAD_TIMEOUT)),
        ua.DataValue(ua.Variant("text", ua.VariantType.String)),
    ]
    rows = make_rows([0, 1, 2, 3], answers, 1_000)
    assert rows.values == [1.5, None, None, None]
    assert rows.codes == {1: quality.BAD_TYPE_MISMATCH, 2: quality.BAD_TIMEOUT, 3: quality.BAD_TYPE_MISMATCH}
    assert rows.arrays == {1: ([1.0, 2.0], quality.UNCERTAIN_SUB_NORMAL)}
    assert join_rows([make_rows([0], answers[:1], 1_000), rows]).arrays == {2: rows.arrays[1]}


async def test_waveforms_are_parted_from_the_other_rows() -> None:
    """What is left has its codes, marks and arrays at its own rows; the waveform comes back as features."""
    waveforms, rows = make_waveforms(), Rows()
    rows.add(1, 500, None, quality.BAD_TYPE_MISMATCH)
    rows.arrays[0] = (NOISE, quality.GOOD)
    rows.add(0, 500, 1.0)
    rows.add(2, 500, None, quality.BAD_TYPE_MISMATCH)
    rows.arrays[2] = ([1.0, 2.0], quality.GOOD)
    rows.overflowed = [2]
    (kept,) = waveforms.part([rows])
    assert (kept.places, kept.values) == ([0, 2], [1.0, None])
    assert (kept.codes, kept.overflowed) == ({1: quality.BAD_TYPE_MISMATCH}, [1])
    assert kept.arrays == {1: ([1.0, 2.0], quality.GOOD)}
    (frame,) = await compute(waveforms)
    assert frame.timestamps == [500]
    assert frame.values.keys() == {"w.rms", "w.peak"}
    assert await compute(waveforms) == []


async def test_rows_without_waveforms_are_left_as_they_are() -> None:
    """The same object goes on: nothing is copied."""
    waveforms, rows = make_waveforms(), Rows()
    rows.add(0, 500, 1.0)
    assert waveforms.part([rows])[0] is rows


async def test_waveforms_that_a_server_dropped_are_a_gap() -> None:
    """Its mark on a waveform: a gap of the features, from the last waveform to this one."""
    waveforms = make_waveforms()
    for at, is_marked in ((500, False), (900, True)):
        rows = Rows()
        rows.add(1, at, None, quality.BAD_TYPE_MISMATCH)
        rows.arrays[0] = (NOISE, quality.GOOD)
        rows.overflowed = [0] if is_marked else []
        assert waveforms.part([rows])[0].places == []
        assert len(await compute(waveforms)) == 1
    (gap,) = waveforms.take_gaps()
    assert (gap.first, gap.last, gap.reason) == (500, 900, "overflow")
    assert (gap.tags, gap.values) == (["w.peak", "w.rms"], 2)


def test_only_numbers_are_samples() -> None:
    """The first so many; text, arrays in arrays and empty values are none."""
    assert list(take_samples([1, 2.5, True, 4], 3) or []) == [1.0, 2.5, 1.0]
    assert list(take_samples([1], 3) or []) == [1.0]
    for wrong in (["1"], [[1.0]], [None], [ua.LocalizedText("x")]):
        assert take_samples(wrong, 3) is None


@pytest.mark.parametrize("order", ["ABCD", "DCBA", "BADC", "CDAB"])
def test_samples_in_registers_have_every_byte_order(order: str) -> None:
    """A float32 whose bytes are A B C D stands in registers as its order's name says."""
    octets = b""
    for sample in NOISE:
        named = dict(zip("ABCD", struct.pack(">f", sample), strict=True))
        octets += bytes(named[letter] for letter in order)
    assert list(read_samples(octets, "float32", order)) == pytest.approx(NOISE, rel=1e-6)  # type: ignore[arg-type]  # one of the names
