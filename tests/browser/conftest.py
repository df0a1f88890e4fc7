"""A headless Chromium and a served plant for the browser tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.integration.console_plants import serve_plant
from tests.integration.console_rig import PlantRig
from tests.servers import find_program


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The system's Chromium; where services are required its absence is a failure."""
    program = find_program("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlantRig]:
    """Ten minutes of four machines, one of them wearing out, served."""
    with serve_plant(tmp_path_factory.mktemp("plant"), seconds=600) as served:
        yield served


@pytest.fixture
def empty_plant(tmp_path: Path) -> Iterator[PlantRig]:
    """A plant of which nothing is known yet, served."""
    with serve_plant(tmp_path) as served:
        yield served


class Watched:
    """A page, and everything that must not happen on it."""

    def __init__(self, context: BrowserContext) -> None:
        self.page: Page = context.new_page()
        self.dialogs: list[str] = []
        self.errors: list[str] = []
        self.failed: list[str] = []
        self.addresses: list[str] = []
        self.page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        self.page.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.addresses.append(request.url))
        self.page.on("requestfailed", lambda request: self._note_failure(request.url, request.failure))
        self.page.on(
            "response", lambda answer: self.failed.append(answer.url) if answer.status >= 400 else None
        )

    def _note_failure(self, url: str, reason: str | None) -> None:
        # Leaving a page ends its live stream and what it was fetching: that is no failure.
        if "ERR_ABORTED" not in (reason or ""):
            self.failed.append(f"{url}: {reason}")

    def check(self, base: str) -> None:
        """Fail when a script ran that is not ours, something broke, or the internet was asked."""
        assert self.dialogs == []
        assert self.errors == []
        assert self.failed == []
        outside = [url for url in self.addresses if not url.startswith((base, "data:", "blob:"))]
        assert outside == []


@pytest.fixture
def watched(chromium: Browser) -> Iterator[Watched]:
    """A fresh page, as on a desk."""
    context = chromium.new_context(viewport={"width": 1400, "height": 900}, timezone_id="Europe/Berlin")
    yield Watched(context)
    context.close()


@pytest.fixture
def phone(chromium: Browser) -> Iterator[Watched]:
    """A fresh page, as in a hand."""
    context = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    yield Watched(context)
    context.close()
