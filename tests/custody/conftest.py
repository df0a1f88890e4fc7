"""The custody tests' options and the book of outcomes, from which their page is written."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.custody import figures, report

PAGE = Path(__file__).parents[2] / "docs" / "CUSTODY.md"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `make custody ARGS=--write-custody` write the page."""
    parser.addoption("--write-custody", action="store_true", help="write docs/CUSTODY.md")


@pytest.fixture(scope="session")
def book(request: pytest.FixtureRequest) -> Iterator[figures.Figures]:
    """What each run came to; at the end docs/CUSTODY.md is written, when that was asked for."""
    found = figures.Figures()
    yield found
    if request.config.getoption("--write-custody", default=False) and (found.runs or found.beside):
        whole = figures.load().renew(found)
        figures.save(whole)
        report.write(PAGE, whole)
