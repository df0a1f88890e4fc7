"""The service files: hardened as systemd itself judges, and they run commands that exist."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from edge.polling.clock import BOOT_ID_VARIABLE
from tests.servers import find_program
from tests.unit.test_documents import parse

ROOT = Path(__file__).parent.parent.parent
UNITS = sorted((ROOT / "configs" / "systemd").glob("*.service"))
EXPOSURE_MAX = 2.0


def analyze(*words: str) -> str:
    """Run systemd-analyze; return all that it says."""
    said = subprocess.run(
        [find_program("systemd-analyze"), *words], capture_output=True, text=True, timeout=30, check=False
    )
    return said.stdout + said.stderr


def test_a_gateway_that_may_not_read_the_boots_id_is_told_it() -> None:
    """Or a restart before the clock is set would lose what waits: another boot's values have no time."""
    text = (ROOT / "configs" / "systemd" / "forewarn-edge.service").read_text()
    assert "\nProcSubset=pid\n" in text
    assert f"\nEnvironment={BOOT_ID_VARIABLE}=%b\n" in text


def test_both_sides_have_a_service() -> None:
    """The gateway and the cloud side."""
    assert [unit.stem for unit in UNITS] == ["forewarn-cloud", "forewarn-edge"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_service_is_hardly_exposed(unit: Path, tmp_path: Path) -> None:
    """systemd's own score is at most 2.0 of 10; the same unit without the hardening is far above."""
    said = analyze("security", "--offline=true", str(unit))
    (level,) = re.findall(r"Overall exposure level for \S+ ([0-9.]+)", said)
    assert float(level) <= EXPOSURE_MAX
    bare = tmp_path / unit.name
    bare.write_text("[Service]\nExecStart=/bin/true\n")
    (level,) = re.findall(
        r"Overall exposure level for \S+ ([0-9.]+)", analyze("security", "--offline=true", str(bare))
    )
    assert float(level) > 9


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_understands_every_line(unit: Path) -> None:
    """No unknown key and no value out of range; only the program is not installed here."""
    complaints = [line for line in analyze("verify", str(unit)).splitlines() if unit.name in line]
    assert [line for line in complaints if "is not executable" not in line] == []


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_service_runs_a_command_that_exists(unit: Path) -> None:
    """What ExecStart says is a command line that the program takes."""
    (line,) = re.findall(r"^ExecStart=\S+/forewarn (.*)$", unit.read_text(), flags=re.MULTILINE)
    parse(shlex.split(line))
