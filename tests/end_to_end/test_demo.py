"""The demo, as a user types it: its stories come true, nothing is lost, and nothing is left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.servers import find_free_port, find_program, wait_until

MEMORY_MB_MAX = 400
READY_S_MAX = 15
WARNED_S_MAX = 30
PUMP = "riverside/hall-1/water/pump-7"

pytestmark = pytest.mark.timeout(240)


class Demo:
    """One run of `forewarn demo` in `folder`, with what it told and what it summed up."""

    def __init__(self, folder: Path, *arguments: str, search: str | None = None) -> None:
        self.folder = folder / "kept"
        self.summary_file = folder / "summary.json"
        self.story_file = folder / "story.txt"
        self.port = find_free_port()
        chosen = [*arguments, "--keep", str(self.folder), "--summary", str(self.summary_file)]
        environment = dict(os.environ) if search is None else {**os.environ, "PATH": search}
        with self.story_file.open("wb") as story:
            self.running = psutil.Popen(
                [sys.executable, "-m", "forewarn", "demo", "--no-browser", "--port", str(self.port), *chosen],
                stdin=subprocess.DEVNULL,
                stdout=story,
                stderr=story,
                env=environment,
            )

    @property
    def story(self) -> str:
        """Everything that it printed so far."""
        return self.story_file.read_text()

    def play(self) -> dict[str, Any]:
        """Wait for its end and return its summary."""
        assert self.running.wait(200) == 0, self.story
        summary: dict[str, Any] = json.loads(self.summary_file.read_text())
        return summary

    def list_programs(self) -> list[psutil.Process]:
        """Return the programs that it started and that still run."""
        here = str(self.folder)
        return [one for one in psutil.process_iter() if here in " ".join(_command_of(one))]


def _command_of(process: psutil.Process) -> list[str]:
    try:
        command: list[str] = process.cmdline()
    except psutil.Error:
        return []
    return command


def assert_all_is_stored(summary: dict[str, Any]) -> None:
    """Nothing is missing although the broker was killed; the demo was quick to start and small."""
    assert summary["values_produced"] > 500
    assert summary["values_stored"] == summary["values_produced"]
    assert summary["values_missing"] == 0
    begins, ends = summary["outage_s"]
    assert 9 < ends - begins < 13
    assert summary["ready_s"] < READY_S_MAX
    assert summary["memory_mb_peak"] < MEMORY_MB_MAX


def test_a_bearing_wears_out_and_the_crew_is_warned(tmp_path: Path) -> None:
    """Within 30 s of the onset: one alert and one mail that name the worn tags, long before a fixed limit."""
    find_program("mosquitto")
    demo = Demo(tmp_path)
    summary = demo.play()
    assert_all_is_stored(summary)
    assert summary["broker"] == "mosquitto"
    (alert,) = summary["alerts"]
    assert (alert["machine"], alert["kind"]) == (PUMP, "machine")
    assert {"bearing_temperature", "vibration_velocity"} <= set(alert["tags"])
    assert 0 < alert["raised_s"] - summary["wear_begins_s"] < WARNED_S_MAX
    assert summary["forewarning_s"] == pytest.approx(summary["failure_s"] - alert["raised_s"], abs=0.01)
    assert alert["raised_s"] < summary["threshold_would_fire_s"] < summary["failure_s"]
    assert summary["mails"] == 1
    html = (demo.folder / "mail" / "001.html").read_text()
    assert "Bearing temperature" in html
    assert "Vibration velocity" in html
    assert (demo.folder / "mail" / "001.eml").stat().st_size > 10_000  # the plot is inside
    assert demo.list_programs() == []


def test_a_healthy_plant_raises_nothing(tmp_path: Path) -> None:
    """Load moves, the broker is killed, and still nobody is bothered."""
    summary = Demo(tmp_path, "--scenario", "healthy", "--minutes", "1").play()
    assert_all_is_stored(summary)
    assert summary["alerts"] == []
    assert summary["mails"] == 0
    assert (summary["wear_begins_s"], summary["failure_s"], summary["forewarning_s"]) == (None, None, None)


def test_a_stuck_sensor_is_a_tag_fault(tmp_path: Path) -> None:
    """A sensor that freezes is reported as such; the machine is not accused."""
    summary = Demo(tmp_path, "--scenario", "stuck-tag", "--minutes", "1.4").play()
    assert_all_is_stored(summary)
    (alert,) = summary["alerts"]
    assert (alert["machine"], alert["kind"]) == (PUMP, "tag")
    assert summary["failure_s"] is None


def test_without_mosquitto_the_demo_brings_its_own_broker(tmp_path: Path) -> None:
    """On a bare machine the embedded broker carries the same story, and its loss is survived as well."""
    bare = str(Path(sys.executable).parent)
    demo = Demo(tmp_path, "--scenario", "cavitation", "--minutes", "1", search=bare)
    summary = demo.play()
    assert summary["broker"] == "iotcore"
    assert_all_is_stored(summary)
    (alert,) = summary["alerts"]
    assert alert["kind"] == "machine"


@pytest.mark.parametrize("shell", ["interactive", "background"])
def test_ctrl_c_ends_everything_in_order(tmp_path: Path, shell: str) -> None:
    """Interrupted, the demo leaves no program and no port, and still sums up; in a script as well."""
    # A shell without job control lets its background programs ignore SIGINT.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN if shell == "background" else signal.SIG_DFL)
    demo = Demo(tmp_path, "--minutes", "2")
    signal.signal(signal.SIGINT, before)
    wait_until(lambda: "ready:" in demo.story, "the demo is ready", 60)
    demo.running.send_signal(signal.SIGINT)
    assert demo.running.wait(30) == 0, demo.story
    assert "interrupted" in demo.story
    assert "Traceback" not in demo.story
    assert json.loads(demo.summary_file.read_text())["ready_s"] > 0
    assert demo.list_programs() == []


def test_killed_it_leaves_no_program_behind(tmp_path: Path) -> None:
    """Even kill -9 of the demo ends every program that it started."""
    demo = Demo(tmp_path, "--minutes", "2")
    wait_until(lambda: "ready:" in demo.story, "the demo is ready", 60)
    assert len(demo.list_programs()) > 3
    demo.running.kill()
    demo.running.wait(5)
    time.sleep(0.1)
    wait_until(lambda: not demo.list_programs(), "every program ends", 20)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--scenario", "bering"], "--scenario 'bering' is not one of bearing, cavitation"),
        (["--minutes", "0.2"], "--minutes 0.2 is outside 1..60"),
    ],
)
def test_what_it_cannot_show_is_refused(arguments: list[str], words: str) -> None:
    """A mistake is one line and exit code 3."""
    told = subprocess.run(
        [sys.executable, "-m", "forewarn", "demo", *arguments], capture_output=True, text=True, check=False
    )
    assert told.returncode == 3
    assert words in told.stderr
    assert "Traceback" not in told.stderr


def test_a_taken_port_is_refused(tmp_path: Path) -> None:
    """A console port asked for by name must be free; the message says the mend."""
    holder = Demo(tmp_path, "--minutes", "1")
    wait_until(lambda: "ready:" in holder.story, "the first demo is ready", 60)
    told = subprocess.run(
        [sys.executable, "-m", "forewarn", "demo", "--no-browser", "--port", str(holder.port)],
        capture_output=True,
        text=True,
        check=False,
    )
    holder.running.send_signal(signal.SIGINT)
    assert holder.running.wait(30) == 0
    assert told.returncode == 3
    assert f"port {holder.port} on 127.0.0.1 is in use: choose another with --port" in told.stderr
