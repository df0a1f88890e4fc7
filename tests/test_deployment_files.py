"""The deployment files are well formed; no engine runs here, so nothing more is claimed."""

from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_ci_script_is_executable() -> None:
    """CI runs it as a program."""
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
