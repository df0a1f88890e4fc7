"""Keeps what the benchmarks print; `--write-performance` makes docs/PERFORMANCE.md of it."""

import importlib
import io
import os
import platform
import sys
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

PERFORMANCE = Path(__file__).parents[2] / "docs" / "PERFORMANCE.md"
LIBRARIES = ("asyncua", "influxdb-client", "msgspec", "numpy", "paho-mqtt", "pymodbus", "scikit-learn")
PREFACE = """# Performance

Written by `make bench ARGS=--write-performance` on {machine}; Python {python}; {libraries}.
Load average {load:.1f} at the start.

Every figure stands beside the obvious way of doing the same, measured in the same run: the ratios travel to
other machines, the figures do not. `us/value` is CPU time, user and system, of all threads of a program.
"""
printed: dict[str, list[str]] = defaultdict(list)


class _Tee(io.TextIOBase):
    """Prints, and remembers what it printed."""

    def __init__(self, screen: io.TextIOBase) -> None:
        self._screen = screen
        self.said: list[str] = []

    def write(self, text: str) -> int:
        """Print."""
        self.said.append(text)
        return self._screen.write(text)

    def flush(self) -> None:
        """Show it now."""
        self._screen.flush()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption("--write-performance", action="store_true", help="write docs/PERFORMANCE.md")
    parser.addoption("--write-peers", action="store_true", help="write docs/PEERS.md")


@pytest.fixture(autouse=True)
def keep_what_is_printed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Remember what a benchmark prints, under its file's name."""
    tee = _Tee(sys.stdout)  # type: ignore[arg-type]  # whatever stands there is written to like a file
    monkeypatch.setattr(sys, "stdout", tee)
    yield
    printed[request.node.path.stem].append("".join(tee.said).strip("\n"))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Note how busy the machine is before we make it so."""
    session.stash[LOAD] = os.getloadavg()[0]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the page, when all went well and it was asked for."""
    if session.config.getoption("--write-performance") and exitstatus == 0:
        PERFORMANCE.parent.mkdir(exist_ok=True)
        PERFORMANCE.write_text(make_page(session.stash[LOAD]), encoding="utf-8")
    if session.config.getoption("--write-peers") and exitstatus == 0:
        importlib.import_module("tests.bench.peers.page").write()


LOAD = pytest.StashKey[float]()


def make_page(load: float) -> str:
    """Return the page: for each benchmark what it is about, and what it printed."""
    preface = PREFACE.format(
        machine=describe_machine(),
        python=platform.python_version(),
        libraries=", ".join(f"{name} {version(name)}" for name in LIBRARIES),
        load=load,
    )
    parts = [preface]
    for name, texts in printed.items():
        purpose = importlib.import_module(f"tests.bench.{name}").__doc__ or name
        lines = [line.rstrip() for line in "\n\n".join(texts).splitlines()]
        parts.append(f"## {purpose.splitlines()[0].rstrip('.')}\n\n```\n" + "\n".join(lines) + "\n```\n")
    return "\n".join(parts)


def describe_machine() -> str:
    """Return the processor, its cores, and the memory."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{os.cpu_count()} cores of {model}, {memory_gb:.0f} GB, {platform.system()}"
