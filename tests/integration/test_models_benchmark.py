"""`forewarn models benchmark`: what it prints of a few files, and that the figures on recordings hold."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models.anomaly.benchmarks.cmapss import warn_engines
from models.anomaly.benchmarks.contenders import CONTENDERS
from models.anomaly.benchmarks.shelf import BENCHMARKS, run_benchmark


def run_command(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command as a person would, in a folder."""
    program = [sys.executable, "-m", "forewarn", "models", "benchmark", *words]
    return subprocess.run(program, cwd=folder, capture_output=True, text=True, check=False)


def write_process(folder: Path) -> Path:
    """Write a normal run, and one in which the ninth of 52 tags shifts from row 160 on, in their layout."""
    home = folder / "sets" / "tep"
    home.mkdir(parents=True)
    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(6, 52))

    def simulate(rows: int) -> np.ndarray:
        return rng.normal(size=(rows, 6)) @ mixing + 0.5 * rng.normal(size=(rows, 52))

    np.savetxt(home / "d00.dat", simulate(500).T)
    np.savetxt(home / "d00_te.dat", simulate(400))
    faulty = simulate(400)
    faulty[160:, 8] += 6.0
    np.savetxt(home / "d04_te.dat", faulty)
    return folder / "sets"


def test_json_is_one_object_on_standard_output(tmp_path: Path) -> None:
    """Names, number of files, and a metric object per detector; nothing else is printed there."""
    sets = write_process(tmp_path)
    said = run_command("tep", "--data", str(sets), "--detector", "fuse", "--json", folder=tmp_path)
    assert said.returncode == 0, said.stderr
    shown = json.loads(said.stdout)
    assert (shown["benchmark"], shown["files"]) == ("tep", 3)
    assert set(shown["results"]) == {"fuse"}
    metrics = shown["results"]["fuse"]
    assert metrics["fdr18"] == metrics["fdr"] > 0.9
    assert metrics["far"] < 0.05
    assert metrics["faults"] == 1


def test_all_contenders_stand_side_by_side(tmp_path: Path) -> None:
    """Every baseline, the one that guesses and the one that never stops; `all` writes the page."""
    sets = write_process(tmp_path)
    said = run_command("all", "--data", str(sets), "--page", "page.md", folder=tmp_path)
    assert said.returncode == 0, said.stderr
    header = next(line for line in said.stdout.splitlines() if line.startswith("detector"))
    assert header.split()[1:] == list(CONTENDERS)
    assert "no file of skab" in said.stderr
    page = (tmp_path / "page.md").read_text()
    assert "## tep: 3 files" in page
    assert "| fdr18 |" in page


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("tpe", "--data", "."), "no benchmark 'tpe': there are skab"),
        (("tep", "--data", "."), "no file of tep is there"),
        (("tep", "--data", "nowhere"), "is no folder"),
        (("tep", "--data", ".", "--detector", "fuze"), "no detector 'fuze'"),
    ],
)
def test_a_mistake_is_told_in_one_line(tmp_path: Path, words: tuple[str, ...], reason: str) -> None:
    """The message names what is wrong and what there is; the exit code is not 0."""
    said = run_command(*words, folder=tmp_path)
    assert said.returncode == 2
    assert reason in said.stderr
    assert "Traceback" not in said.stderr


FLOORS = {
    "skab": {"f1": 0.80, "vus_pr": 0.885, "events_found": 15},
    "tep": {"fdr18": 0.93},
    "ims": {"first_alarm_h_before_end": 60.0},
    "metropt": {"auc": 0.97},
}
CEILINGS = {
    "skab": {"delay_s_median": 50.0, "false_episodes": 5},
    "tep": {"far": 0.015},
    "ims": {"false_episodes": 1},
    "metropt": {"far": 0.03},
}


@pytest.mark.parametrize("name", list(FLOORS))
def test_the_figures_on_recordings_hold(recordings: Path, name: str) -> None:
    """On the recordings that are there `fuse` stays above what it was built to reach."""
    metrics = run_benchmark(BENCHMARKS[name], recordings, ["fuse"]).results["fuse"]
    print(name, metrics)
    for metric, least in FLOORS[name].items():
        assert metrics[metric] >= least
    for metric, most in CEILINGS[name].items():
        assert metrics[metric] <= most


@pytest.mark.parametrize("name", ["train_FD001.txt", "train_FD001_a.txt", "train_FD001_b.txt"])
def test_turbofans_are_warned_of_whichever_engines_teach(recordings: Path, tmp_path: Path, name: str) -> None:
    """Engines are chosen by the hash of file and number: under another name others of them teach."""
    file = tmp_path / name
    file.write_bytes((recordings / "cmapss" / "train_FD001.txt").read_bytes())
    warned, _ = warn_engines(file, "fuse")
    ahead = np.mean([one.lead is not None and one.lead >= 20 for one in warned])
    false = 1000.0 * sum(one.false_episodes for one in warned) / sum(one.healthy_cycles for one in warned)
    print(name, f"{ahead:.3f} of {len(warned)} engines, {false:.2f} false per 1,000 healthy cycles")
    assert ahead >= (0.92 if name == "train_FD001.txt" else 0.9)
    assert false <= 0.75
