"""The deployment files are well formed; no engine runs here, so nothing more is claimed."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = Path(sys.executable).parent


def read_pins(name: str) -> dict[str, str]:
    """Return the versions that a lock file pins."""
    found = re.findall(r"^([a-z0-9._-]+)==([^\s;\\]+)", (ROOT / name).read_text(), re.MULTILINE)
    return dict(found)


def load_dashboard_maker() -> ModuleType:
    """Import configs/grafana/make_dashboard.py, which is no package."""
    spec = importlib.util.spec_from_file_location(
        "make_dashboard", ROOT / "configs/grafana/make_dashboard.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_ci_script_is_executable() -> None:
    """CI runs it as a program."""
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


def test_the_dockerfile_is_clean() -> None:
    """hadolint finds nothing."""
    found = subprocess.run(
        [TOOLS / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.parametrize("profile", ["", "demo"])
def test_the_compose_file_is_valid(profile: str, tmp_path: Path) -> None:
    """Compose's own parser takes it, with every file that it mounts there."""
    for name in ("docker-compose.yml", "Dockerfile"):
        shutil.copy(ROOT / name, tmp_path)
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name in ("influx_token", "influx_password", "grafana_password"):
        (secrets / name).write_text("x")
    chosen = ["--profile", profile] if profile else []
    found = subprocess.run(
        [TOOLS / "docker-compose", "-f", "docker-compose.yml", *chosen, "config"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert ("plant:" in found.stdout) == (profile == "demo")
    mounted = re.findall(r"- \.?/?(configs/[^:\s]+):", (ROOT / "docker-compose.yml").read_text())
    mounted += re.findall(r"\"\./(configs/[^:\"]+):", (ROOT / "docker-compose.yml").read_text())
    assert mounted
    assert not [name for name in mounted if not (ROOT / name).exists()]


def test_no_image_floats() -> None:
    """Every image has a version."""
    images = re.findall(r"image: (\S+)", (ROOT / "docker-compose.yml").read_text())
    assert images
    assert all(re.search(r":v?\d", image) for image in images)


def test_the_dashboard_is_what_its_maker_makes() -> None:
    """The committed JSON is never edited by hand."""
    made = load_dashboard_maker().render_dashboard()
    assert (ROOT / "configs/grafana/dashboards/machine.json").read_text() == made


@pytest.mark.parametrize("name", ["requirements-edge.lock", "requirements-cloud.lock"])
def test_an_image_installs_what_was_tested(name: str) -> None:
    """The lock of each image is a part of the whole lock, with hashes and no address of a registry."""
    whole, part = read_pins("requirements.lock"), read_pins(name)
    assert part
    assert part.items() <= whole.items()
    text = (ROOT / name).read_text()
    assert "--hash=sha256:" in text
    assert "://" not in text


def test_the_edge_image_has_nothing_that_a_small_pi_lacks() -> None:
    """numpy and scikit-learn have no wheels for 32-bit boards."""
    assert (
        not {"numpy", "scipy", "scikit-learn", "matplotlib", "pandas"}
        & read_pins("requirements-edge.lock").keys()
    )
