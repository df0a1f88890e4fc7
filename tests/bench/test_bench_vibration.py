"""Vibration features at the edge: pure Python beside numpy, and what ten machines take of a core."""

import asyncio
import subprocess
import sys
from array import array
from time import process_time
from typing import NamedTuple

import pytest
from structlog.testing import capture_logs

from edge.vibration import analyst
from edge.vibration.desk import Desk
from edge.vibration.features import Speed, compute_features
from edge.vibration.recording import OpenRecording
from edge.vibration.settings import WaveformSettings
from edge.vibration.with_numpy import NumpyRecording
from edge.vibration.with_python import PythonRecording
from tests.unit.vibration_rig import SKF_6205, make_fault

pytestmark = pytest.mark.bench

MACHINES, EVERY_S = 10, 10.0
REPEATS = 20
MEMORY = """
import array, resource
from edge.vibration.settings import WaveformSettings
from edge.vibration import analyst
from edge.vibration.desk import Desk
from edge.vibration.features import Speed, compute_features
from edge.drivers.opcua.settings import OpcuaMachineSettings
wanted = WaveformSettings.model_validate({settings})
samples = array.array("d", [float(at % 7) for at in range(wanted.samples)])
read = lambda: int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
before = read()
from edge.vibration.{module} import {name} as way
imported = read()
compute_features(samples, wanted, Speed(1500.0), way)
print((imported - before) / 1e6, (read() - before) / 1e6)
"""


class WaveformTag(NamedTuple):
    """A tag of the settings, as the desk sees it."""

    name: str
    waveform: WaveformSettings | None


def make_waveform(samples: int) -> WaveformSettings:
    return WaveformSettings.model_validate(
        {"samples": samples, "rate_hz": 25_600, "bands_hz": [[10, 1_000], [1_000, 4_000], [4_000, 10_000]]}
        | {"bearing": SKF_6205, "speed": {"rpm": 1_500}}
    )


def measure_ms(samples: "array[float]", wanted: WaveformSettings, way: OpenRecording) -> float:
    """Return CPU milliseconds per waveform; the tables are made before."""
    compute_features(samples, wanted, Speed(1_500.0), way)
    begun_s = process_time()
    for _ in range(REPEATS):
        compute_features(samples, wanted, Speed(1_500.0), way)
    return 1e3 * (process_time() - begun_s) / REPEATS


def test_pure_python_beside_numpy() -> None:
    """All features of a waveform, by its length, and the share of a core that ten machines take."""
    print("\nall features of a waveform (3 bands, 4 bearing lines);", end=" ")
    print(f"{MACHINES} machines, a waveform each every {EVERY_S:g} s:")
    print(f"{'samples':>8} {'pure Python':>13} {'numpy':>9} {'ratio':>7}   share of a core")
    for count in (2_700, 4_096, 16_384, 20_480, 65_536):
        wanted, samples = make_waveform(count), make_fault(89.6, 25.0, 3, count)
        ours, theirs = (measure_ms(samples, wanted, way) for way in (PythonRecording, NumpyRecording))
        shares = [f"{one * MACHINES / EVERY_S / 10:.2f} %" for one in (ours, theirs)]
        print(
            f"{count:>8} {ours:>10.2f} ms {theirs:>6.2f} ms {ours / theirs:>6.0f}x   "
            f"{shares[0]} pure, {shares[1]} numpy"
        )


def test_the_obvious_way_in_pure_python() -> None:
    """The transform alone beside the textbook's recursive one."""
    from cmath import exp, pi

    from edge.vibration.fourier import transform_real

    def textbook(signal: list[complex]) -> list[complex]:
        if len(signal) == 1:
            return signal
        even, odd = textbook(signal[::2]), textbook(signal[1::2])
        half = len(signal) // 2
        turned = [exp(-2j * pi * k / len(signal)) * odd[k] for k in range(half)]
        return [even[k] + turned[k] for k in range(half)] + [even[k] - turned[k] for k in range(half)]

    samples = list(make_fault(89.6, 25.0, 3, 4_096))
    transform_real(samples)
    begun_s = process_time()
    for _ in range(REPEATS):
        transform_real(samples)
    ours = (process_time() - begun_s) / REPEATS
    begun_s = process_time()
    whole = textbook([complex(one) for one in samples])
    theirs = process_time() - begun_s
    assert transform_real(samples) == pytest.approx(whole[:2_049], abs=1e-6)
    print("\ntransform of 4,096 real samples, pure Python:", end=" ")
    print(f"{1e3 * ours:.2f} ms, the textbook's {1e3 * theirs:.1f} ms: {theirs / ours:.0f}x")


async def find_lateness_ms(desk: Desk | None, samples: "array[float]") -> list[float]:
    """Return how late a tick every 10 ms was, 200 times, in order of size; a desk is kept busy meanwhile."""
    loop, late = asyncio.get_running_loop(), []
    due_s = loop.time()
    for tick in range(200):
        if desk is not None:
            desk.take()
            desk.put("w", tick + 1, samples)
            desk.take_gaps()
        due_s = max(loop.time(), due_s + 0.01)
        await asyncio.sleep(due_s - loop.time())
        late.append(1e3 * (loop.time() - due_s))
    return sorted(late)


async def test_how_late_the_event_loop_is_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick every 10 ms, with the computing thread at rest, and busy all the time."""
    wanted, samples = make_waveform(4_096), make_fault(89.6, 25.0, 3, 4_096)
    print("\nhow late a tick of the event loop is (median, 95 %, largest), 4,096 samples without a pause:")
    for what, way in (("at rest", None), ("pure Python", PythonRecording), ("numpy", NumpyRecording)):
        desk = None
        if way is not None:
            monkeypatch.setattr(analyst, "choose_opener", lambda way=way: way)
            desk = Desk("m", [WaveformTag("w", wanted)], analyst.Analyst())
        with capture_logs():
            late = await find_lateness_ms(desk, samples)
        print(f"  {what:<12} {late[100]:6.2f} {late[190]:6.2f} {late[-1]:6.2f} ms")


def test_what_numpy_takes_of_the_memory() -> None:
    """Resident memory that the first waveform of 4,096 samples adds to a program with the settings loaded."""
    wanted = make_waveform(4_096).model_dump(exclude_none=True)
    print("\nresident memory that the first waveform of 4,096 samples adds:")
    for what, module, name in (
        ("pure Python", "with_python", "PythonRecording"),
        ("numpy", "with_numpy", "NumpyRecording"),
    ):
        program = MEMORY.format(settings=wanted, module=module, name=name)
        told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        loaded, whole = told.stdout.split()
        print(
            f"  {what:<12} {float(loaded):5.1f} MB to import, {float(whole):5.1f} MB with its tables and work"
        )
