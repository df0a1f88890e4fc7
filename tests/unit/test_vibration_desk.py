"""The desk: features off the event loop, in order, bounded, and never older or truer than their waveform."""

import asyncio
import subprocess
import sys
import threading
from array import array
from collections.abc import Iterator
from time import monotonic
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from edge.vibration import analyst as analyst_module
from edge.vibration.analyst import Analyst, Job, compute
from edge.vibration.desk import WAVEFORMS_WAITING_MAX, Desk
from edge.vibration.features import Features, Speed
from edge.vibration.recording import choose_opener
from edge.vibration.settings import WaveformSettings
from edge.vibration.with_numpy import NumpyRecording
from edge.vibration.with_python import PythonRecording
from models.telemetry import Frame, quality
from tests.unit.vibration_rig import SKF_6205, make_noise, make_settings

SAMPLES = 4_096


class Tag(msgspec.Struct):
    """A tag of the settings, as the desk sees it."""

    name: str
    waveform: WaveformSettings | None = None


class Held:
    """Holds the computing thread: it computes as many waveforms as it is let."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._allowed = threading.Semaphore(0)
        monkeypatch.setattr(analyst_module, "compute", self._compute)

    def let(self, waveforms: int = 1_000) -> None:
        self._allowed.release(waveforms)

    def _compute(self, job: Job) -> Features:
        assert self._allowed.acquire(timeout=30)
        return compute(job)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    """Hold the computing thread; let it go at the end."""
    one = Held(monkeypatch)
    yield one
    one.let()


def make_desk(analyst: Analyst | None = None, **more: Any) -> Desk:
    waveform = make_settings(samples=SAMPLES, features=["rms"], **more)
    return Desk("s/a/l/m", [Tag("w", waveform), Tag("speed")], analyst or Analyst())


async def settle(desk: Desk, frames: int) -> list[Frame]:
    found: list[Frame] = []
    async with asyncio.timeout(20):
        while len(found) < frames:
            await desk.settle(1.0)
            found += desk.take()
    return found


async def test_features_have_the_waveforms_time_and_quality() -> None:
    """One frame per waveform, in their order; an uncertain waveform has uncertain features."""
    desk = make_desk()
    desk.put("w", 1_000, make_noise(1, SAMPLES))
    desk.put("w", 2_000, make_noise(2, SAMPLES), quality.UNCERTAIN)
    good, uncertain = await settle(desk, 2)
    assert good.timestamps == [1_000]
    assert good.values["w.rms"] == [pytest.approx(1, rel=0.05)]
    assert good.quality == {}
    assert uncertain.timestamps == [2_000]
    assert uncertain.quality == {"w.rms": {0: quality.UNCERTAIN}}


async def test_the_same_waveform_is_computed_once() -> None:
    """A poll finds the array of the last one's time again: nothing new, even over a bad one in between."""
    desk = make_desk()
    for _ in range(3):
        desk.put("w", 1_000, make_noise(1, SAMPLES))
    desk.put("w", 900, make_noise(1, SAMPLES))  # the machine's clock was set back: new, and older
    assert [frame.timestamps for frame in await settle(desk, 2)] == [[1_000], [900]]


async def test_bad_is_said_until_it_changes() -> None:
    """A bad waveform has bad features, once per reason; good again is said."""
    desk = make_desk()
    for at in (1_000, 2_000, 3_000):
        desk.refuse("w", at, quality.BAD_NODE_ID_UNKNOWN)
    desk.refuse("w", 4_000, quality.BAD_TIMEOUT)
    desk.put("w", 5_000, make_noise(1, SAMPLES))
    desk.refuse("w", 6_000, quality.BAD_TIMEOUT)
    frames = await settle(desk, 4)
    codes = [frame.quality.get("w.rms", {}).get(0, 0) for frame in frames]
    assert codes == [quality.BAD_NODE_ID_UNKNOWN, quality.BAD_TIMEOUT, 0, quality.BAD_TIMEOUT]
    assert [frame.timestamps[0] for frame in frames] == [1_000, 4_000, 5_000, 6_000]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -1e31])
@pytest.mark.parametrize("at", [0, SAMPLES // 2, SAMPLES - 1])
def test_a_sample_that_is_no_measurement_spoils_the_waveform(wrong: float, at: int) -> None:
    """NaN, infinity, and what no sensor measures: bad, wherever it stands."""
    samples = make_noise(1, SAMPLES)
    samples[at] = wrong
    wanted = make_settings(samples=SAMPLES, features=["rms", "kurtosis"])
    found = compute(Job(wanted, samples, Speed(None)))
    assert found.values == {"rms": None, "kurtosis": None}
    assert set(found.codes.values()) == {quality.BAD_SENSOR_FAILURE}


def test_a_scale_comes_before_everything() -> None:
    """Counts times scale are the unit."""
    counts = array("d", [round(1_000 * number) for number in make_noise(1, SAMPLES)])
    found = compute(Job(make_settings(samples=SAMPLES, scale=0.01, features=["rms"]), counts, Speed(None)))
    assert found.values["rms"] == pytest.approx(10, rel=0.05)


async def test_the_loop_goes_on_while_features_are_computed(held: Held) -> None:
    """A poll waits a quarter of its interval for them and a second at most, and takes them later."""
    desk = make_desk()
    desk.put("w", 1_000, make_noise(1, SAMPLES))
    begun_s = monotonic()
    await desk.settle(0.2)
    assert monotonic() - begun_s < 5
    assert desk.take() == []
    held.let()
    assert len(await settle(desk, 1)) == 1


async def test_what_does_not_fit_is_counted_and_recorded(held: Held) -> None:
    """Four of a tag wait; the others become one gap with its span, its tags and how many values it cost."""
    desk = make_desk()
    for at in range(1, WAVEFORMS_WAITING_MAX + 4):
        desk.put("w", 1_000 * at, make_noise(1, SAMPLES))
    (gap,) = desk.take_gaps()
    assert (gap.first, gap.last, gap.values, gap.tags) == (4_999, 7_001, 3, ["w.rms"])
    assert gap.reason == "memory_full"
    assert desk.take_gaps() == []
    held.let()
    assert len(await settle(desk, WAVEFORMS_WAITING_MAX)) == WAVEFORMS_WAITING_MAX
    desk.put("w", 9_000, make_noise(1, SAMPLES))
    assert len(await settle(desk, 1)) == 1


async def test_skipping_is_said_once_and_its_end_too(held: Held) -> None:
    """As long as more comes than is computed there is one warning; then one line with how many it were."""
    desk = make_desk()
    with capture_logs() as logs:
        for at in range(1, WAVEFORMS_WAITING_MAX + 4):
            desk.put("w", at, make_noise(1, SAMPLES))
        held.let(1)
        await settle(desk, 1)
        for at in range(20, 25):  # as many as there is room for, and at least one more
            desk.put("w", at, make_noise(1, SAMPLES))
        assert [one["event"] for one in logs if "waveforms" in one["event"]] == ["waveforms_skipped"]
        held.let()
        async with asyncio.timeout(20):
            while desk.count_waiting("w"):
                await desk.settle(1.0)
                desk.take()
        desk.put("w", 99, make_noise(1, SAMPLES))
    _, again = [one for one in logs if "waveforms" in one["event"]]
    assert again["event"] == "waveforms_computed_again"
    assert again["skipped"] >= 4


async def test_all_machines_share_one_bound(held: Held) -> None:
    """So many samples wait for the one thread, whoever brought them; a larger one gets its turn too."""
    analyst = Analyst(waiting_samples_max=2 * SAMPLES)
    desks = [make_desk(analyst) for _ in range(3)]
    for desk in desks:
        desk.put("w", 1_000, make_noise(1, SAMPLES))
    assert [len(desk.take_gaps()) for desk in desks] == [0, 0, 1]
    held.let()
    for desk in desks[:2]:
        assert len(await settle(desk, 1)) == 1
    large = Analyst(waiting_samples_max=1)
    desk = make_desk(large)
    desk.put("w", 1_000, make_noise(1, SAMPLES))
    assert len(await settle(desk, 1)) == 1


async def test_the_speed_is_what_the_machine_said_before() -> None:
    """Unknown at first and after a reconnect; then the newest value times the scale, whatever its sign."""
    waveform = make_settings(
        samples=8_192, features=["envelope"], bearing=SKF_6205, speed={"tag": "speed", "scale": 60}
    )
    desk = Desk("s/a/l/m", [Tag("w", waveform)], Analyst())
    seen = []
    for at, frames in enumerate(
        [
            [],
            [Frame([1, 2], {"speed": [0.0, -25.0]})],
            [],
            [Frame([3], {"speed": [None]}, {"speed": {0: quality.BAD_TIMEOUT}})],
            [Frame([4], {"speed": [None]})],
            [Frame([5], {"other": [25.0]}), Frame([6], {"speed": [25.0]}, {"speed": {0: quality.UNCERTAIN}})],
        ],
        1,
    ):
        desk.note_speeds(frames)
        desk.put("w", at, make_noise(1, 8_192))
        (frame,) = await settle(desk, 1)
        seen.append(frame.quality.get("w.bpfo", {}).get(0, 0))
    waiting = quality.BAD_WAITING_FOR_INITIAL_DATA
    assert seen == [waiting, 0, 0, quality.BAD_TIMEOUT, quality.BAD, quality.UNCERTAIN]
    desk.begin()
    desk.put("w", 100, make_noise(1, 8_192))
    (frame,) = await settle(desk, 1)
    assert frame.quality["w.bpfo"] == {0: waiting}
    assert frame.values["w.bpfo"] == [None]


def test_numpy_is_taken_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed: numpy; told otherwise, or not installed: pure Python."""
    choose_opener.cache_clear()
    assert choose_opener() is NumpyRecording
    choose_opener.cache_clear()
    monkeypatch.setenv("FOREWARN_VIBRATION", "python")
    assert choose_opener() is PythonRecording
    choose_opener.cache_clear()
    monkeypatch.delenv("FOREWARN_VIBRATION")
    monkeypatch.setitem(sys.modules, "edge.vibration.with_numpy", None)  # what is not installed
    assert choose_opener() is PythonRecording
    choose_opener.cache_clear()


def test_without_waveforms_nothing_of_numpy_is_loaded() -> None:
    """A gateway of both kinds of machines, built and without a waveform, has no numpy in its memory."""
    program = """
import sys
from edge.drivers.modbus.settings import ModbusMachineSettings
from edge.drivers.opcua.settings import OpcuaMachineSettings
tag = {"name": "a", "table": "input", "address": 0, "type": "int16"}
machine = {"kind": "modbus", "path": "s/a/l/m", "host": "h"}
ModbusMachineSettings.model_validate({**machine, "tags": [tag]}).build()
machine = {"kind": "opcua", "path": "s/a/l/n", "url": "opc.tcp://h:1", "allow_insecure": True}
OpcuaMachineSettings.model_validate({**machine, "tags": [{"name": "a", "node_id": "i=1"}]}).build()
print("numpy" in sys.modules)
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"
