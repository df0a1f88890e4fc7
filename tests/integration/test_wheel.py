"""The wheel carries everything that the program reads at run time, and nothing of the project around it."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("forewarn", "models", "edge", "cloud")


def list_tracked(*folders: str) -> set[str]:
    """Return the files that git has in these folders."""
    shown = subprocess.run(
        ["git", "ls-files", "--", *folders], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {name for name in shown.stdout.splitlines() if (ROOT / name).is_file()}


def test_the_wheel_is_whole(tmp_path: Path) -> None:
    """Templates, scripts, styles and configs are inside, where the code looks for them; tests are not."""
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            ".",
            "--no-index",
            "--wheel-dir",
            str(tmp_path),
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("forewarn-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    wanted = list_tracked(*PACKAGES) | {f"forewarn/{name}" for name in list_tracked("configs")}
    assert wanted - inside == set()
    assert {name.partition("/")[0] for name in inside} <= {*PACKAGES, *_own_folder(inside)}


def _own_folder(inside: set[str]) -> set[str]:
    return {name.partition("/")[0] for name in inside if ".dist-info/" in name}
