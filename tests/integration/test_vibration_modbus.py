"""Waveforms over Modbus against a real server: blocks, torn recordings, refusals, polls on time."""

import asyncio
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pymodbus.constants import ExcCodes
from structlog.testing import capture_logs

from edge.drivers.modbus.settings import ModbusMachineSettings
from edge.drivers.modbus.waveforms import ModbusWaveforms
from models.telemetry import Frame, quality
from tests.integration.drivers_rig import HOST, ModbusRig
from tests.integration.opcua_rig import take_rows
from tests.servers import find_free_port
from tests.unit.vibration_rig import make_noise

SAMPLES = 512
FIRST = 100
COUNTER = 99
PATIENCE_S = 20


def write_samples(samples: list[float], code: str) -> list[int]:
    """Return registers as `struct` packs the samples, `>` or `<` and swapped bytes as `code` says."""
    octets = struct.pack(f"{code[:1]}{len(samples)}{code[1:2]}", *samples)
    words = struct.unpack(f">{len(octets) // 2}H", octets)
    return [(word & 0xFF) << 8 | word >> 8 for word in words] if code[2:] == "swapped" else list(words)


@pytest.fixture
async def rig() -> AsyncIterator[ModbusRig]:
    """A server with 4,200 holding registers."""
    rig = ModbusRig(find_free_port(), {"holding": dict.fromkeys(range(4_200), 0)})
    await rig.start()
    yield rig
    await rig.stop()


def record(rig: ModbusRig, words: list[int]) -> None:
    rig.tables["holding"] |= dict(enumerate(words, FIRST))


def build(
    rig: ModbusRig, *others: dict[str, Any], features: list[str] | None = None, **tag: Any
) -> ModbusWaveforms:
    waveform = {"samples": SAMPLES, "rate_hz": 5_120, "features": features or ["rms", "peak"]}
    one = {"name": "w", "table": "holding", "address": FIRST, "type": "int16", "interval_s": 0.1, **tag}
    driver = ModbusMachineSettings.model_validate(
        {"kind": "modbus", "path": "s/a/l/motor", "host": HOST, "port": rig.port, "interval_s": 0.1}
        | {"tags": [{"waveform": waveform} | one, *others]}
    ).build()
    assert isinstance(driver, ModbusWaveforms)
    return driver


async def read_until(driver: ModbusWaveforms, tag: str, rows: int = 1) -> list[Frame]:
    frames: list[Frame] = []
    async with asyncio.timeout(PATIENCE_S):
        while sum(tag in frame.values for frame in frames) < rows:
            frames += await driver.read()
            await asyncio.sleep(0.02)
    return frames


@pytest.mark.parametrize(
    ("kind", "order", "code"),
    [
        ("int16", "ABCD", ">h"),
        ("int16", "BADC", "<h"),
        ("float32", "ABCD", ">f"),
        ("float32", "DCBA", "<f"),
        ("float32", "CDAB", "<fswapped"),
        ("float32", "BADC", ">fswapped"),
        ("int32", "CDAB", "<iswapped"),
        ("float64", "DCBA", "<d"),
    ],
)
async def test_a_block_of_registers_is_a_waveform(rig: ModbusRig, kind: str, order: str, code: str) -> None:
    """Any type and byte order: the features are those of the samples that were written."""
    noise = make_noise(3, SAMPLES)
    samples = [round(1_000 * one) if kind.startswith("int") else 1_000 * one for one in noise]
    record(rig, write_samples(samples, code))
    driver = build(rig, type=kind, byte_order=order, scale=0.001)
    await driver.connect()
    try:
        frames = await read_until(driver, "w.rms")
    finally:
        await driver.close()
    mean = sum(noise) / SAMPLES
    rms = (sum((one - mean) ** 2 for one in noise) / SAMPLES) ** 0.5
    value, rated = next(iter(take_rows(frames, "w.rms").values()))
    assert value == pytest.approx(rms, rel=1e-3)
    assert rated == quality.GOOD
    words = SAMPLES * struct.calcsize(">" + code[1:2]) // 2
    asked = [request for request in rig.requests if request[1] >= FIRST]
    assert sum(count for _, _, count in asked[: -(-words // 125)]) >= words
    assert max(count for _, _, count in asked) <= 125
    assert not rig.written


async def test_the_other_tags_keep_their_pace_and_tell_the_speed(rig: ModbusRig) -> None:
    """A slow line: a waveform of many requests is read over several polls; each poll has the other tags."""
    rig.tables["holding"][0] = 1_500
    record(rig, write_samples([round(1_000 * one) for one in make_noise(3, SAMPLES)], ">h"))
    rig.delay_s, rig.delays_max = 0.04, 1_000
    bearing = {"balls": 9, "ball_diameter_mm": 7.94, "pitch_diameter_mm": 39.04}
    waveform = {"samples": SAMPLES, "rate_hz": 5_120, "features": ["envelope"], "bearing": bearing}
    waveform["speed"] = {"tag": "speed"}
    speed = {"name": "speed", "table": "holding", "address": 0, "type": "uint16"}
    driver = build(rig, speed, waveform=waveform, interval_s=0.5)
    await driver.connect()
    try:
        frames = await read_until(driver, "w.bpfo")
    finally:
        await driver.close()
    # 5 requests of 40 ms, of which 50 ms' worth go into one poll of 0.1 s.
    assert sum("speed" in frame.values for frame in frames) >= 3
    ((value, rated),) = take_rows(frames, "w.bpfo").values()
    assert value is not None
    assert rated == quality.GOOD


async def test_a_recording_that_changes_while_it_is_read_is_left_out(rig: ModbusRig) -> None:
    """The counter differs before and after: a gap, and a word; the next one is whole, and read once."""
    record(rig, write_samples([round(1_000 * one) for one in make_noise(3, SAMPLES)], ">h"))
    begun_anew = [1]

    def begin_anew(_table: str, address: int, _count: int) -> ExcCodes | None:
        if address == FIRST + 250 and begun_anew:
            rig.tables["holding"][COUNTER] = begun_anew.pop()
        return None

    rig.refuse = begin_anew
    driver = build(rig, counter_address=COUNTER, scale=0.001)
    await driver.connect()
    try:
        with capture_logs() as logs:
            frames = await read_until(driver, "w.rms")
        gaps = driver.take_gaps()
        asked = len(rig.requests)
        again: list[Frame] = []
        async with asyncio.timeout(PATIENCE_S):
            while len(rig.requests) < asked + 3:
                again += await driver.read()
                await asyncio.sleep(0.02)
        rig.tables["holding"][COUNTER] = 2
        newer = await read_until(driver, "w.rms")
    finally:
        await driver.close()
    assert [one["event"] for one in logs if one["event"] == "waveform_torn"] == ["waveform_torn"]
    (gap,) = gaps
    assert (gap.reason, gap.tags, gap.values) == ("cycles_missed", ["w.peak", "w.rms"], 2)
    (stamp,) = take_rows(frames, "w.rms")
    assert gap.first < gap.last < stamp
    assert again == []
    assert {request[1:] for request in rig.requests[asked : asked + 3]} == {(COUNTER, 1)}
    assert len(take_rows(newer, "w.rms")) == 1


async def test_a_refused_block_makes_bad_features(rig: ModbusRig) -> None:
    """Said once with the mend; the other tags flow, and what answers again is good again."""
    rig.refuse = lambda _table, address, _count: ExcCodes.ILLEGAL_ADDRESS if address > FIRST else None
    driver = build(rig, {"name": "speed", "table": "holding", "address": 0, "type": "uint16"})
    await driver.connect()
    try:
        with capture_logs() as logs:
            frames = await read_until(driver, "speed", 4)
        rig.refuse = lambda _table, _address, _count: None
        good = await read_until(driver, "w.rms")
    finally:
        await driver.close()
    assert [code for _, code in take_rows(frames, "w.rms").values()] == [quality.BAD_CONFIGURATION_ERROR]
    (said,) = [one["reason"] for one in logs if one["event"] == "waveform_refused"]
    assert "unit 1 answers exception 2" in said
    assert list(take_rows(good, "w.rms").values()) == [(0.0, 0)]


async def test_a_machine_of_waveforms_alone_is_read(rig: ModbusRig) -> None:
    """Nothing else to poll; after a loss of the connection it begins anew."""
    driver = build(rig)
    for _ in range(2):
        await driver.connect()
        assert driver.interval_s == 0.1
        await read_until(driver, "w.rms")
        await driver.close()
        await driver.close()
