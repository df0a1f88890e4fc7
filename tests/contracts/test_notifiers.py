"""What every notifier promises: a bound on each call, and errors that say what to do."""

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest

from cloud.notifiers import Letter, NotifierUnavailable
from cloud.notifiers.post import make_notice
from cloud.notifiers.shelf import NotifierSettings, list_addresses
from tests.integration.mail_rig import make_email_settings
from tests.unit.alert_rig import make_alert

NOTICE = make_notice(make_alert(), "raised", Letter("Subject", "text", "<p>html</p>"))
TIMEOUT_S = 0.3
MAKERS = {"email": lambda port: make_email_settings(port, timeout_s=TIMEOUT_S)}
members = pytest.mark.parametrize("kind", list(MAKERS))


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where connections are taken and never answered."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_every_member_of_the_shelf_is_checked() -> None:
    """A new registration line without its maker here fails."""
    members_of_union = getattr(NotifierSettings, "__args__", (NotifierSettings,))
    kinds = {member.model_fields["kind"].annotation.__args__[0] for member in members_of_union}
    assert kinds == set(MAKERS)


@members
def test_building_does_not_connect(kind: str, free_port: int) -> None:
    """Settings build their part without a server in sight, and say whom it tells."""
    settings = MAKERS[kind](free_port)
    assert settings.build() is not None
    assert [address.channel for address in list_addresses([settings])] == [settings.name]


@members
async def test_a_server_that_is_away_means_wait_and_repeat(kind: str, free_port: int) -> None:
    """The message says which server and what to check."""
    settings = MAKERS[kind](free_port)
    with pytest.raises(NotifierUnavailable, match=rf"127\.0\.0\.1:{free_port}.*check"):
        await settings.build().send(NOTICE, settings.recipients[0])


@members
async def test_a_server_that_never_answers_is_given_up_in_time(kind: str, silent_port: int) -> None:
    """No call hangs, and the loop is free meanwhile."""
    settings = MAKERS[kind](silent_port)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.02)

    ticking = asyncio.create_task(tick())
    began = time.monotonic()
    with pytest.raises(NotifierUnavailable, match="does not answer in time"):
        await settings.build().send(NOTICE, settings.recipients[0])
    ticking.cancel()
    assert time.monotonic() - began < 10 * TIMEOUT_S
    assert ticks >= 3
