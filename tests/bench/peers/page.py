"""docs/PEERS.md, from what the comparison found."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

from tests.bench.conftest import describe_machine

PAGE = Path(__file__).parents[3] / "docs" / "PEERS.md"
TEXT = Path(__file__).with_suffix(".md")
NAMES = ("modbus", "opcua", "custody")
tables: dict[str, str] = {}


def keep(name: str, table: str) -> None:
    """Remember one of the page's tables."""
    tables[name] = table


def write() -> None:
    """Write the page; a comparison that was skipped leaves its place saying so."""
    found = {name: tables.get(name, "(not measured: see `make bench-peers`)") for name in NAMES}
    text = TEXT.read_text(encoding="utf-8").format(
        machine=describe_machine(),
        python=platform.python_version(),
        load=os.getloadavg()[0],
        forewarn=version("forewarn"),
        asyncua=version("asyncua"),
        **found,
    )
    PAGE.write_text(text, encoding="utf-8")
