"""Mail through a real SMTP server: delivered at least once, refused with words, never in the way."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import Engine

from cloud.alerts import Alert
from cloud.alerts.advice import load_adviser
from cloud.alerts.book import AlertBook
from cloud.alerts.settings import AlertSettings
from cloud.notifiers.email import EmailSettings
from cloud.notifiers.outbox import Notification, NotificationOutbox
from cloud.notifiers.post import LetterDesk, Post
from cloud.notifiers.shelf import list_addresses
from cloud.records import open_records
from tests.integration.mail_rig import MailServer, RampReader, make_email_settings
from tests.servers import find_free_port
from tests.unit.alert_rig import START_S, TEMPERATURE, VIBRATION, make_cards, observe

CREW, CHIEF = "crew@plant.example", "chief@plant.example"


class Office:
    """Everything behind the watcher on one records file; opening another is a restart."""

    def __init__(self, folder: Path, *settings: EmailSettings) -> None:
        self.engine: Engine = open_records(f"sqlite:///{folder}/records.sqlite")
        self.outbox = NotificationOutbox(self.engine)
        self.reader = RampReader(START_S + 7)
        cards = make_cards()
        self.book = AlertBook(
            self.engine,
            AlertSettings(),
            cards,
            adviser=load_adviser(),
            addresses=list_addresses(settings),
        )
        desk = LetterDesk(cards, self.reader, "http://forewarn.plant.example:8080/")
        notifiers = {one.name: one.build() for one in settings}
        self.post = Post(self.outbox, self.book, notifiers, desk, poll_s=0.02, backoff_first_s=0.05)

    def raise_alert(self) -> Alert:
        """Let the pump's bearing wear."""
        for second in range(10):
            self.book.observe([observe(second, 2.4, contributions=[VIBRATION, TEMPERATURE])])
        return self.book.list_alerts()[0]

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

    async def wait(
        self, met: Callable[[list[Notification]], bool], seconds: float = 20
    ) -> list[Notification]:
        """Return the notifications once `met` says so."""
        until = time.monotonic() + seconds
        alert_id = self.book.list_alerts()[0].id
        while True:
            rows = await asyncio.to_thread(self.outbox.list_of, alert_id)
            if met(rows):
                return rows
            assert time.monotonic() < until, rows
            await asyncio.sleep(0.02)


def all_sent(rows: list[Notification]) -> bool:
    """Return whether nothing waits or failed."""
    return all(row.state == "sent" for row in rows)


async def test_an_alert_becomes_a_mail_with_its_picture(mail_server: MailServer, tmp_path: Path) -> None:
    """The mail names the worn tags, shows the picture and links to the console; it is sent once."""
    office = Office(tmp_path, make_email_settings(mail_server.port))
    alert = office.raise_alert()
    async with office.running():
        (row,) = await office.wait(all_sent)
        await asyncio.sleep(0.2)
    assert (row.attempts, row.words) == (1, "")
    ((recipient, mail),) = mail_server.taken
    assert recipient == CREW
    assert mail["Message-ID"] == f"<{alert.id}@plant.example>"
    assert mail["Subject"] == (
        "[Forewarn] Feed pump 7 (riverside/hall-1/water/pump-7): "
        "vibration and bearing temperature are not normal"
    )
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    for body in (text.get_content(), html.get_content()):
        assert f"http://forewarn.plant.example:8080/alerts/{alert.id}" in body
        assert "5.8 mm/s" in body
    assert "cid:plot" in html.get_content()
    (picture,) = [part for part in mail.walk() if part.get_content_type() == "image/png"]
    assert picture["Content-ID"] == "<plot>"
    assert picture.get_content().startswith(b"\x89PNG")
    assert len(picture.get_content()) > 10_000


async def test_a_temporary_refusal_is_repeated(mail_server: MailServer, tmp_path: Path) -> None:
    """Greylisting costs a delay, not the warning."""
    office = Office(tmp_path, make_email_settings(mail_server.port))
    office.raise_alert()
    mail_server.to_recipient[CREW] = ["451 4.7.1 Greylisted, come back"] * 2
    async with office.running():
        (row,) = await office.wait(all_sent)
    assert row.attempts == 3
    assert len(mail_server.taken) == 1


async def test_a_permanent_refusal_is_shown_and_the_others_are_told(
    mail_server: MailServer, tmp_path: Path
) -> None:
    """The words name server, recipient, code, the server's own words, and the mend."""
    office = Office(tmp_path, make_email_settings(mail_server.port, recipients=[CREW, CHIEF]))
    office.raise_alert()
    mail_server.to_recipient[CREW] = ["550 5.1.1 No such user here"] * 9
    async with office.running():
        refused, sent = await office.wait(lambda rows: all(row.state != "waiting" for row in rows))
    assert (refused.state, refused.attempts, sent.state) == ("failed", 1, "sent")
    assert refused.words == (
        f"127.0.0.1:{mail_server.port} refused mail to {CREW}: 550 5.1.1 No such user here: "
        "check the address in recipients, and whether "
        "the server may send for Forewarn <forewarn@plant.example>"
    )
    assert [recipient for recipient, _ in mail_server.taken] == [CHIEF]
    assert office.outbox.list_unsent() == [refused]


async def test_a_lost_answer_repeats_the_same_message(mail_server: MailServer, tmp_path: Path) -> None:
    """The server had the mail, we did not hear it: the repeat bears the same Message-ID."""
    office = Office(tmp_path, make_email_settings(mail_server.port))
    office.raise_alert()
    mail_server.to_mail = ["drop"]
    async with office.running():
        await office.wait(all_sent)
    first, second = [mail for _, mail in mail_server.taken]
    assert first["Message-ID"] == second["Message-ID"]


async def test_a_hanging_server_is_left_in_time(mail_server: MailServer, tmp_path: Path) -> None:
    """A mail that hangs is given up, said, and sent when the server is well again."""
    office = Office(tmp_path, make_email_settings(mail_server.port, timeout_s=0.5))
    office.raise_alert()
    mail_server.to_mail = ["hang"]
    async with office.running():
        (row,) = await office.wait(lambda rows: rows[0].words != "")
        assert "does not answer in time" in row.words
        await office.wait(all_sent)
    assert len(mail_server.taken) == 1


async def test_a_hanging_channel_delays_no_other_and_no_stop(mail_server: MailServer, tmp_path: Path) -> None:
    """While one server hangs the other has its mail, and the service stops at once when told to."""
    second = MailServer(find_free_port())
    second.start()
    hanging = make_email_settings(mail_server.port, name="first", timeout_s=60.0)
    office = Office(tmp_path, hanging, make_email_settings(second.port, name="second"))
    office.raise_alert()
    mail_server.to_mail = ["hang"]
    async with office.running():
        await office.wait(lambda rows: [row.state for row in rows] == ["waiting", "sent"])
        began = time.monotonic()
    assert time.monotonic() - began < 5
    second.stop()
    assert len(second.taken) == 1


async def test_what_waits_survives_a_restart(free_port: int, tmp_path: Path) -> None:
    """The server is away, the service is restarted, the server comes back: one mail."""
    settings = make_email_settings(free_port)
    office = Office(tmp_path, settings)
    office.raise_alert()
    async with office.running():
        (row,) = await office.wait(lambda rows: rows[0].words != "")
    assert (row.state, row.sent_ns) == ("waiting", None)
    assert f"the mail server 127.0.0.1:{free_port} cannot be reached" in row.words
    office.engine.dispose()
    mail_server = MailServer(free_port)
    mail_server.start()
    again = Office(tmp_path, settings)
    async with again.running():
        await again.wait(all_sent)
    mail_server.stop()
    assert len(mail_server.taken) == 1


async def test_a_crash_while_sending_does_not_stop_the_others(
    mail_server: MailServer, tmp_path: Path
) -> None:
    """A row that was begun and never finished waits for its turn; the rest goes first."""
    office = Office(tmp_path, make_email_settings(mail_server.port, recipients=[CREW, CHIEF]))
    office.raise_alert()
    first = office.outbox.list_due(2**62, 10)[0]
    office.outbox.claim(first.id, time.time_ns() + 1_000_000_000)
    async with office.running():
        await office.wait(lambda rows: [row.state for row in rows] == ["waiting", "sent"])
        await office.wait(all_sent)
    assert [recipient for recipient, _ in mail_server.taken] == [CHIEF, CREW]


async def test_a_warning_does_not_wait_for_its_picture(mail_server: MailServer, tmp_path: Path) -> None:
    """With the store away the mail goes out and says why it has no picture."""
    office = Office(tmp_path, make_email_settings(mail_server.port))
    office.reader.away = True
    office.raise_alert()
    async with office.running():
        await office.wait(all_sent)
    ((_, mail),) = mail_server.taken
    body = mail.get_body(("plain",))
    assert body is not None
    assert "No picture: the store did not answer (the store is away)." in body.get_content()
    assert not [part for part in mail.walk() if part.get_content_type() == "image/png"]


async def test_a_channel_that_is_gone_from_the_settings_is_named(
    mail_server: MailServer, tmp_path: Path
) -> None:
    """A notification for a notifier of yesterday fails with words instead of waiting for ever."""
    office = Office(tmp_path, make_email_settings(mail_server.port))
    office.raise_alert()
    office.post._notifiers = {}
    async with office.running():
        (row,) = await office.wait(lambda rows: rows[0].state == "failed")
    assert "there is no notifier named 'email' any more" in row.words
