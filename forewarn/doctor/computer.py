"""Checks of this computer: Python, what is installed, the clock, the disk."""

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from forewarn.doctor.findings import Finding

PYTHON_MIN = (3, 11)
DISK_BYTES_MIN = 1_000_000_000
EXTRAS = {
    "edge": ("asyncua", "cryptography", "pymodbus"),
    "cloud": (
        "aiosmtplib",
        "fastapi",
        "influxdb_client",
        "matplotlib",
        "mjml",
        "sklearn",
        "sqlalchemy",
        "uvicorn",
    ),
}


def check_computer(folder: Path) -> list[Finding]:
    """Return what is to be said of this computer; `folder` is on the disk that will be written to."""
    return [
        _check_python(),
        *(_check_extra(extra) for extra in EXTRAS),
        _check_broker_program(),
        _check_clock(),
        check_disk(folder, DISK_BYTES_MIN),
    ]


def list_missing(extra: str) -> list[str]:
    """Return the libraries of an extra that are not installed."""
    return [name for name in EXTRAS[extra] if find_spec(name) is None]


def check_disk(folder: Path, bytes_needed: int) -> Finding:
    """Say whether there is room for `bytes_needed`."""
    free = shutil.disk_usage(folder).free
    room = f"{free / 1e9:.3g} GB free at {folder}"
    if free < bytes_needed:
        return Finding("warn", "disk", f"{room}, {bytes_needed / 1e9:.3g} GB are needed: make room")
    return Finding("ok", "disk", room)


def _check_python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info < PYTHON_MIN:
        return Finding("fail", "python", f"{version} is too old: install Python 3.11 or newer")
    return Finding("ok", "python", version)


def _check_extra(extra: str) -> Finding:
    missing = list_missing(extra)
    if missing:
        words = f"{', '.join(missing)} not installed: pip install 'forewarn[{extra}]', where this side runs"
        return Finding("warn", f"{extra} libraries", words)
    return Finding("ok", f"{extra} libraries", "installed")


def _check_broker_program() -> Finding:
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if found:
        return Finding("ok", "broker program", found)
    if find_spec("iotcore") is not None:
        return Finding("ok", "broker program", "iotcore, which is enough for the demo")
    return Finding("warn", "broker program", "none here: the demo needs one (apt install mosquitto)")


def _check_clock() -> Finding:
    from edge.polling.clock import CLOCK_MEND, is_clock_synchronised

    synchronised = is_clock_synchronised()
    if synchronised is None:
        return Finding("warn", "clock", "nobody can say whether it is synchronised: compare it by hand")
    if not synchronised:
        return Finding("warn", "clock", f"not synchronised: {CLOCK_MEND}")
    return Finding("ok", "clock", "synchronised")
