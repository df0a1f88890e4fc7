"""Waveforms over OPC UA against a real server: arrays become features, other arrays a hint."""

import asyncio
from array import array
from datetime import UTC, datetime, timedelta
from math import sqrt
from typing import Any

import pytest
from asyncua import ua
from structlog.testing import capture_logs

from edge.commands.reading import read_machines
from edge.drivers.opcua.driver import OpcuaDriver
from edge.drivers.opcua.settings import OpcuaMachineSettings
from edge.vibration.bearings import Geometry, count_per_turn
from models.telemetry import Frame, quality
from tests.integration.drivers_rig import NAMESPACE, OpcuaRig
from tests.integration.opcua_rig import PATIENCE_S, take_rows
from tests.unit.vibration_rig import SKF_6205, make_fault, make_noise, make_sine

pytestmark = pytest.mark.asyncio(loop_scope="module")

START = datetime(2026, 11, 23, 3, 0, 0, 0, UTC)
START_NS = 1_795_402_800_000_000_000
SAMPLES = 16_384
MODES = ("subscription", "poll")
INT16 = ua.VariantType.Int16
FLOAT = ua.VariantType.Float


def make_machine(rig: OpcuaRig, mode: str, waveform: dict[str, Any] | None) -> OpcuaMachineSettings:
    tags: list[dict[str, Any]] = [{"name": "speed", "node_id": f"nsu={NAMESPACE};s=pump-7.speed"}]
    tags.append({"name": "w", "node_id": f"nsu={NAMESPACE};s=pump-7.wave", "interval_s": 0.1})
    if waveform is not None:
        tags[1]["waveform"] = {"samples": SAMPLES, "rate_hz": 25_600} | waveform
    return OpcuaMachineSettings.model_validate(
        {"kind": "opcua", "path": "s/a/l/pump", "url": rig.url, "interval_s": 0.1, "mode": mode, "tags": tags}
        | {"allow_insecure": True}
    )


async def connect(rig: OpcuaRig, mode: str, waveform: dict[str, Any] | None) -> OpcuaDriver:
    driver = make_machine(rig, mode, waveform).build()
    await driver.connect()
    return driver


async def read_until(driver: OpcuaDriver, tag: str, rows: int = 1, since: int = 0) -> list[Frame]:
    """Read until a tag has that many rows, or one of that time; return all frames."""
    frames: list[Frame] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found := take_rows(frames, tag)) < rows or (since and since not in found):
            frames += await driver.read()
            await asyncio.sleep(0.01)
    return frames


def list_floats(samples: "array[float]") -> ua.Variant:
    return ua.Variant(list(samples), FLOAT)


@pytest.mark.parametrize("mode", MODES)
async def test_an_array_becomes_features_with_its_timestamp(opcua: OpcuaRig, mode: str) -> None:
    """Each waveform gives one value per feature, stamped by the server; its own tag says nothing."""
    await opcua.add({"speed": 1_500.0, "wave": ua.Variant([0] * SAMPLES, INT16)})
    driver = await connect(opcua, mode, {"scale": 0.001, "features": ["rms", "crest_factor", "velocity_rms"]})
    try:
        await read_until(driver, "w.rms")
        frames = []
        for second, hertz in enumerate((162.5, 325.0), 1):
            counts = [round(1_000 * sample) for sample in make_sine(hertz, 9.0)]
            await opcua.write("wave", ua.Variant(counts, INT16), source=START + timedelta(seconds=second))
            frames += await read_until(driver, "w.rms", since=START_NS + second * 1_000_000_000)
    finally:
        await driver.close()
    rms, velocity = take_rows(frames, "w.rms"), take_rows(frames, "w.velocity_rms")
    stamps = [START_NS + 1_000_000_000, START_NS + 2_000_000_000]
    rms, velocity = ({at: rows[at] for at in stamps} for rows in (rms, velocity))
    assert [value for value, _ in rms.values()] == [pytest.approx(9 / sqrt(2), rel=1e-3)] * 2
    (first, _), (second_value, _) = velocity.values()
    assert first == pytest.approx(2 * second_value, rel=2e-3)
    assert not any("w" in frame.values for frame in frames)


@pytest.mark.parametrize("mode", MODES)
async def test_the_line_of_a_damaged_bearing_comes_with_the_machines_own_speed(
    opcua: OpcuaRig, mode: str
) -> None:
    """BPFO at the speed that the machine tells stands out; standing, the lines are bad and the rest flows."""
    hertz = count_per_turn(Geometry(9, 7.94, 39.04))["bpfo"] * 1_470 / 60
    await opcua.add({"speed": 1_470.0, "wave": list_floats(make_fault(hertz, 1_470 / 60, 3))})
    driver = await connect(opcua, mode, {"bearing": SKF_6205, "speed": {"tag": "speed"}})
    try:
        frames = await read_until(driver, "w.bpfo")
        newest = {name: column[-1] for frame in frames for name, column in frame.values.items()}
        assert newest["w.bpfo"] > 4 * newest["w.bpfi"]
        assert newest["w.bpfo"] > 10 * newest["w.envelope_floor"]
        # Later than what it holds: of two speeds that come together the newer counts.
        later = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
        later_ns = int(later.timestamp()) * 1_000_000_000
        await opcua.write("speed", 0.0, source=later)
        await read_until(driver, "speed", since=later_ns)
        await opcua.write("wave", list_floats(make_noise(1)), source=later)
        standing = await read_until(driver, "w.bpfo", since=later_ns)
    finally:
        await driver.close()
    for line in ("bpfo", "bpfi", "bsf", "ftf"):
        assert take_rows(standing, f"w.{line}")[later_ns] == (None, quality.BAD_OUT_OF_RANGE)
    assert take_rows(standing, "w.rms")[later_ns] == (pytest.approx(1, rel=0.05), 0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("value", "code", "reason"),
    [
        ([0.5] * 100, quality.BAD_OUT_OF_RANGE, "100 values, and the settings say samples: 16384"),
        (3.0, quality.BAD_TYPE_MISMATCH, "no array of numbers"),
        (["a", "b"], quality.BAD_TYPE_MISMATCH, "something else than numbers"),
        ([float("nan")] * SAMPLES, quality.BAD_SENSOR_FAILURE, ""),
    ],
    ids=["short", "single", "text", "nan"],
)
async def test_what_is_no_waveform_is_bad_and_explained(
    opcua: OpcuaRig, mode: str, value: Any, code: int, reason: str
) -> None:
    """Too short, a single number, text, NaN: every feature is bad, said once with its reason."""
    await opcua.add({"speed": 1.0, "wave": value})
    driver = await connect(opcua, mode, {"features": ["rms", "peak"]})
    try:
        with capture_logs() as logs:
            frames = await read_until(driver, "w.rms")
            for _ in range(3):
                frames += await driver.read()
    finally:
        await driver.close()
    for name in ("w.rms", "w.peak"):
        assert list(take_rows(frames, name).values()) == [(None, code)]
    said = [one["reason"] for one in logs if one["event"] == "waveform_refused"]
    assert len(said) == bool(reason)
    assert all(reason in one for one in said)


@pytest.mark.parametrize("mode", MODES)
async def test_a_node_that_is_not_there_makes_bad_features(opcua: OpcuaRig, mode: str) -> None:
    """They have the node's own quality; the other tags flow."""
    await opcua.add({"speed": 25.0})
    driver = await connect(opcua, mode, {"features": ["rms"]})
    try:
        frames = await read_until(driver, "w.rms")
        if not any("speed" in frame.values for frame in frames):
            frames += await read_until(driver, "speed")
    finally:
        await driver.close()
    assert [code for _, code in take_rows(frames, "w.rms").values()] == [quality.BAD_NODE_ID_UNKNOWN]
    assert [value for value, _ in take_rows(frames, "speed").values()] == [25.0]


@pytest.mark.parametrize("mode", MODES)
async def test_an_array_that_is_not_asked_for_is_refused_with_a_hint(opcua: OpcuaRig, mode: str) -> None:
    """Without `waveform` it is a wrong type as ever, and the log says how to get its features."""
    await opcua.add({"speed": 1.0, "wave": [0.5] * 64})
    driver = await connect(opcua, mode, None)
    try:
        with capture_logs() as logs:
            frames = await read_until(driver, "w")
    finally:
        await driver.close()
    assert list(take_rows(frames, "w").values()) == [(None, quality.BAD_TYPE_MISMATCH)]
    (said,) = [one["reason"] for one in logs if one["event"] == "no_number"]
    assert "64 values at a time" in said
    assert "waveform: {samples" in said


async def test_an_uncertain_array_gives_uncertain_features(opcua: OpcuaRig) -> None:
    """The server's word on the waveform is that on its features."""
    await opcua.add({"speed": 1.0, "wave": ua.Variant([0.0] * SAMPLES, FLOAT)})
    driver = await connect(opcua, "subscription", {"features": ["rms"]})
    try:
        await read_until(driver, "w.rms")
        uncertain = quality.UNCERTAIN_SUB_NORMAL
        await opcua.write("wave", list_floats(make_noise(1)), source=START, status=uncertain)
        frames = await read_until(driver, "w.rms", since=START_NS)
    finally:
        await driver.close()
    assert take_rows(frames, "w.rms")[START_NS] == (pytest.approx(1, rel=0.05), uncertain)


async def test_a_person_sees_the_features(opcua: OpcuaRig) -> None:
    """`edge read` lists them with their units in place of the waveform."""
    await opcua.add({"speed": 1.0, "wave": list_floats(make_noise(1))})
    readings = await read_machines([make_machine(opcua, "subscription", {"unit": "g"})])
    shown = {one.tag: (one.unit, one.is_good) for one in readings}
    assert shown["w.rms"] == ("g", True)
    assert shown["w.velocity_rms"] == ("mm/s", True)
    assert "w" not in shown
