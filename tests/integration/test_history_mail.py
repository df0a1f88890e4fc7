"""Digests of history through a real SMTP server: one mail each, never an alert, to who wants them."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec import structs

from cloud.alerts.advice import load_adviser
from cloud.alerts.book import AlertBook
from cloud.alerts.settings import AlertSettings
from cloud.notifiers.digests import DigestDesk
from cloud.notifiers.email import EmailSettings
from cloud.notifiers.outbox import Notification, NotificationOutbox
from cloud.notifiers.post import LetterDesk, Post
from cloud.notifiers.shelf import list_addresses, list_digest_readers
from cloud.records import open_records
from cloud.watch.history_book import HistoryDigest, JudgedSpan, StrangePast, has_unposted, put_digest
from models.telemetry import Frame
from tests.integration.mail_rig import MailServer, RampReader, make_email_settings
from tests.integration.watch_replay_rig import MACHINES, PAST_ROWS, ReplayRig, cut, make_columns
from tests.integration.watcher_rig import NOW_NS
from tests.unit.alert_rig import PUMP, SCRIPT, START_S, VIBRATION, make_cards, observe

SECOND = 1_000_000_000
START_NS = START_S * SECOND
FAN = "riverside/hall-2/drying/fan-1"
WAIT_S = 20.0


class Office:
    """The post over records in which the watcher leaves digests."""

    def __init__(self, folder: Path, *settings: EmailSettings, began_ns: int = START_NS) -> None:
        self.engine = open_records(f"sqlite:///{folder}/records.sqlite")
        self.outbox = NotificationOutbox(self.engine)
        cards, opened_ns = make_cards(), time.time_ns()
        self.book = AlertBook(
            self.engine,
            AlertSettings(),
            cards,
            adviser=load_adviser(),
            addresses=list_addresses(settings),
            clock_ns=lambda: began_ns + time.time_ns() - opened_ns,
        )
        url = "http://forewarn.plant.example:8080/"
        self.post = Post(
            self.outbox,
            self.book,
            {one.name: one.build() for one in settings},
            LetterDesk(cards, RampReader(START_S), url),
            digests=DigestDesk(self.engine, list_digest_readers(settings), cards, url),
            poll_s=0.02,
            backoff_first_s=0.05,
            clock_ns=lambda: began_ns + time.time_ns() - opened_ns,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the post for a while."""
        stop = asyncio.Event()
        task = asyncio.create_task(self.post.run(stop))
        try:
            yield
        finally:
            stop.set()
            await task

    async def wait_told(self, digest_id: int) -> list[Notification]:
        """Return the notifications of a digest once none of them waits, and it was looked at."""
        until = time.monotonic() + WAIT_S
        while True:
            unposted = await asyncio.to_thread(has_unposted, self.engine)
            rows = await asyncio.to_thread(self.outbox.list_due, 2**62, 100)
            if not unposted and not rows:
                return await asyncio.to_thread(self.outbox.list_of, f"history-{digest_id}-{START_S}")
            assert time.monotonic() < until, rows
            await asyncio.sleep(0.02)


def make_digest(*, is_strange: bool = True, before_s: int = 0) -> HistoryDigest:
    """Return what three and a half hours of a pump and a fan showed: the pump was strange twice."""
    begin_ns = START_NS - before_s * SECOND
    span = JudgedSpan(str(PUMP), begin_ns, begin_ns + 12_600 * SECOND, 12_600)
    found = StrangePast(
        machine=str(PUMP),
        first_ns=begin_ns + 900 * SECOND,
        last_ns=begin_ns + 8_000 * SECOND,
        rows_above=700,
        peak=3.42,
        tags=["bearing_temperature", SCRIPT],
        episodes=2,
        peak_ns=begin_ns + 7_320 * SECOND,
    )
    calm = JudgedSpan(FAN, START_NS, START_NS + 60 * SECOND, 60)
    return HistoryDigest(START_NS, 12_660, [found] if is_strange else [], [span, calm])


def read_parts(mail_server: MailServer) -> tuple[str, str]:
    """Return text and HTML of the only mail that was taken."""
    ((_, mail),) = mail_server.taken
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    return text.get_content(), html.get_content()


async def test_a_digest_is_one_mail_and_no_alert(
    mail_server: MailServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names machine, span, episodes and the strongest instant, links to the span, and is sent once."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    office = Office(tmp_path, make_email_settings(mail_server.port))
    put_digest(office.engine, make_digest())
    async with office.running():
        (row,) = await office.wait_told(1)
        await asyncio.sleep(0.2)
    assert (row.state, row.occasion) == ("sent", "history")
    ((recipient, mail),) = mail_server.taken
    assert recipient == "crew@plant.example"
    assert mail["Subject"] == "[Forewarn] History of 2 machines was judged: 2 episodes"
    assert mail["Message-ID"] == f"<history-1-{START_S}@plant.example>"
    text, html = read_parts(mail_server)
    begin, end = START_NS // 1_000_000, START_NS // 1_000_000 + 12_600_000
    for body in (text, html.replace("&amp;", "&")):
        assert "Feed pump 7" in body
        assert "2 episodes, strongest at 2026-11-23 04:15:20 UTC, 3.42 times the limit" in body
        assert f"http://forewarn.plant.example:8080/machines/{PUMP}?from={begin}&to={end}" in body
        assert "no alert was raised" in body
        assert "Fan 1" in body
    assert SCRIPT not in html
    assert office.book.list_alerts() == []


async def test_what_an_alert_has_told_is_not_told_again(mail_server: MailServer, tmp_path: Path) -> None:
    """The backlog of a machine whose alert was open at that time is no news; that of before it is."""
    office = Office(tmp_path, make_email_settings(mail_server.port))
    for second in range(10):
        office.book.observe([observe(second, 2.4, contributions=[VIBRATION])])
    async with office.running():
        put_digest(office.engine, make_digest())
        assert await office.wait_told(1) == []
        put_digest(office.engine, make_digest(before_s=20_000))
        (row,) = await office.wait_told(2)
    assert row.state == "sent"
    subjects = [mail["Subject"] for _, mail in mail_server.taken]
    assert ["was judged" in subject for subject in subjects] == [False, True]


async def test_what_was_calm_is_told_to_who_asks_for_all(mail_server: MailServer, tmp_path: Path) -> None:
    """By default nobody reads that nothing was strange."""
    curious = make_email_settings(
        mail_server.port, name="all", recipients=["ada@plant.example"], history="all"
    )
    office = Office(tmp_path, make_email_settings(mail_server.port), curious)
    put_digest(office.engine, make_digest(is_strange=False))
    async with office.running():
        await office.wait_told(1)
    ((recipient, mail),) = mail_server.taken
    assert recipient == "ada@plant.example"
    assert mail["Subject"] == "[Forewarn] History of 2 machines was judged: nothing strange"


async def test_digests_can_be_switched_off(mail_server: MailServer, tmp_path: Path) -> None:
    """The digest stays on the console; it is not sent later either."""
    office = Office(tmp_path, make_email_settings(mail_server.port, history="never"))
    put_digest(office.engine, make_digest())
    async with office.running():
        assert await office.wait_told(1) == []
    assert mail_server.taken == []


async def test_a_server_that_is_away_delays_the_digest(mail_server: MailServer, tmp_path: Path) -> None:
    """A restart in between changes nothing: it is mailed once, when the server takes it."""
    settings = make_email_settings(mail_server.port)
    mail_server.to_recipient["crew@plant.example"] = ["451 4.7.1 Greylisted, come back"] * 2
    office = Office(tmp_path, settings)
    put_digest(office.engine, make_digest())
    await office.post.deliver_due()
    assert mail_server.taken == []
    office.engine.dispose()
    again = Office(tmp_path, settings)
    async with again.running():
        (row,) = await again.wait_told(1)
    assert (row.state, row.attempts) == ("sent", 3)
    assert len(mail_server.taken) == 1


async def test_nobody_is_told_of_what_was_found_long_ago(mail_server: MailServer, tmp_path: Path) -> None:
    """A mail office that was away for weeks does not flood the crew with old news."""
    office = Office(tmp_path, make_email_settings(mail_server.port))
    put_digest(office.engine, structs.replace(make_digest(), told_ns=START_NS - 8 * 86_400 * SECOND))
    async with office.running():
        assert await office.wait_told(1) == []
    assert mail_server.taken == []


async def test_a_backlog_that_was_strange_is_mailed_by_what_the_watcher_found(
    mail_server: MailServer, tmp_path: Path
) -> None:
    """From rows that come late to the mail: the real watcher judges, the real post delivers."""
    rig = ReplayRig(tmp_path)
    columns = make_columns(0, PAST_ROWS + 300)
    rig.learn(MACHINES[0], cut(columns, -PAST_ROWS, PAST_ROWS))
    for first in (*range(0, 60, 2), *range(200, 240, 2)):
        rig.bring([(MACHINES[0], cut(columns, first, 2))])
    late = cut(columns, 60, 140)
    warm = {"temperature": [value + 6.0 for value in late.values["temperature"]]}
    rig.bring([(MACHINES[0], Frame(late.timestamps, late.values | warm))])
    for _ in range(8):
        rig.turn()
    office = Office(tmp_path, make_email_settings(mail_server.port), began_ns=NOW_NS + 240 * SECOND)
    async with office.running():
        await office.wait_told(1)
    ((_, mail),) = mail_server.taken
    assert mail["Subject"] == "[Forewarn] History of Pump 1 was judged: 1 episode"
    assert "temperature" in read_parts(mail_server)[0]
    office.engine.dispose()
    rig.close()
