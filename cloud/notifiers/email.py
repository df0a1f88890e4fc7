"""Tells people by e-mail: one SMTP conversation per recipient; the only file that knows aiosmtplib."""

import asyncio
import re
import ssl
from contextlib import suppress
from email import policy
from email.headerregistry import Address as MailAddress
from email.message import EmailMessage
from email.utils import localtime
from typing import Annotated, Literal

import aiosmtplib
from pydantic import AfterValidator, Field, model_validator

from cloud.notifiers import Notice, Notifier, NotifierRefused, NotifierUnavailable, TellHistory
from models.settings import ConfigPath, Secret, Settings, SettingsError

STEPS_MAX = 4
"""The whole conversation may take this many times `timeout_s`, which bounds each step of it."""

LOOPBACK = ("127.0.0.1", "::1", "localhost")


_MAILBOX = re.compile(
    r"(?:(?P<name>[^<>@,;:\"\\]*)<(?P<inside>[^<>]+)>|(?P<bare>[^<>]+))",
)
_ADDRESS = re.compile(
    r"(?P<user>[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+)@(?P<domain>[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)"
)


def parse_mailbox(text: str) -> MailAddress:
    """Return one mailbox, written `crew@plant.example` or `Crew <crew@plant.example>`; raise ValueError."""
    mailbox = _MAILBOX.fullmatch(text) if text.isprintable() else None
    address = _ADDRESS.fullmatch(mailbox["inside"] or mailbox["bare"]) if mailbox else None
    if mailbox is None or address is None:
        raise ValueError(f"{text!r} is not one e-mail address such as crew@plant.example")
    return MailAddress((mailbox["name"] or "").strip(), address["user"], address["domain"])


def _check_mailbox(text: str) -> str:
    parse_mailbox(text)
    return text


Mailbox = Annotated[str, AfterValidator(_check_mailbox)]


class EmailSettings(Settings):
    """Sends each alert to `recipients` through the SMTP server at `host`.

    `starttls: required` refuses a server without it; `opportunistic` takes what there is; `none` sends in
    clear. `tls: true` speaks TLS from the first byte (port 465) instead. `ca_file` is for a private CA.
    `history` says of which digests of late values the recipients are told.
    """

    kind: Literal["email"]
    name: str = Field(default="email", min_length=1, max_length=64)
    host: str = Field(min_length=1)
    port: int = Field(default=587, ge=1, le=65535)
    sender: Mailbox
    recipients: list[Mailbox] = Field(min_length=1, max_length=100)
    username: str | None = None
    password: Secret | None = None
    starttls: Literal["required", "opportunistic", "none"] = "required"
    tls: bool = False
    ca_file: ConfigPath | None = None
    timeout_s: float = Field(default=10.0, gt=0.0, le=120.0)
    history: TellHistory = "strange"

    @model_validator(mode="after")
    def _guard_password(self) -> "EmailSettings":
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password belong together: say both or neither")
        in_clear = not self.tls and self.starttls != "required"
        if self.password is not None and in_clear and self.host not in LOOPBACK:
            raise ValueError(
                f"the password would travel in clear to {self.host}: say starttls: required, or tls: true"
            )
        return self

    @property
    def address(self) -> str:
        """`host:port`, for messages."""
        return f"{self.host}:{self.port}"

    def build(self) -> Notifier:
        """Return the notifier; it connects only when it sends."""
        return EmailNotifier(self)


class EmailNotifier:
    """Sends one message per notice and recipient; a repeat carries the same Message-ID."""

    def __init__(self, settings: EmailSettings) -> None:
        self._settings = settings

    async def send(self, notice: Notice, recipient: str) -> None:
        """Return once the server has accepted the message for `recipient`."""
        settings = self._settings
        message = compose_message(notice, settings.sender, recipient)
        try:
            async with asyncio.timeout(STEPS_MAX * settings.timeout_s):
                await self._converse(message, parse_mailbox(recipient).addr_spec)
        except SettingsError as error:
            raise NotifierUnavailable(f"no password for {settings.address}: {error}") from error
        except aiosmtplib.SMTPRecipientsRefused as error:
            refusal = error.recipients[0]
            raise _refusal(settings, recipient, refusal.code, refusal.message) from error
        except aiosmtplib.SMTPAuthenticationError as error:
            # Not permanent: the alert must go out once somebody has mended the password.
            raise NotifierUnavailable(
                f"{settings.address} does not accept the user {settings.username!r} "
                f"({error.code} {error.message}): check username and the password's file"
            ) from error
        except (aiosmtplib.SMTPSenderRefused, aiosmtplib.SMTPDataError) as error:
            raise _refusal(settings, recipient, error.code, error.message) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            raise NotifierUnavailable(explain_send_error(settings, error)) from error

    async def _converse(self, message: EmailMessage, recipient: str) -> None:
        settings = self._settings
        client = aiosmtplib.SMTP(
            hostname=settings.host,
            port=settings.port,
            username=settings.username,
            password=settings.password.read() if settings.password else None,
            timeout=settings.timeout_s,
            use_tls=settings.tls,
            start_tls=None if settings.tls else _START_TLS[settings.starttls],
            tls_context=ssl.create_default_context(cafile=settings.ca_file),
        )
        try:
            await client.connect()
            sender = parse_mailbox(settings.sender).addr_spec
            await client.send_message(message, sender=sender, recipients=[recipient])
            with suppress(aiosmtplib.SMTPException):  # the mail is accepted: a rude goodbye changes nothing
                await client.quit()
        finally:
            # Not `async with`: that would wait for a hanging server's goodbye even when we are cancelled.
            client.close()


_START_TLS = {"required": True, "opportunistic": None, "none": False}


def compose_message(notice: Notice, sender: str, recipient: str) -> EmailMessage:
    """Return the mail: plain text and HTML with the same facts, the picture inside the HTML."""
    from_whom = parse_mailbox(sender)
    message = EmailMessage(policy=policy.SMTP)
    message["From"] = from_whom
    message["To"] = parse_mailbox(recipient)
    message["Subject"] = notice.letter.subject
    message["Date"] = localtime()
    message["Message-ID"] = f"<{notice.id}@{from_whom.domain}>"
    if notice.follows is not None:
        message["In-Reply-To"] = message["References"] = f"<{notice.follows}@{from_whom.domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(notice.letter.text)
    message.add_alternative(notice.letter.html, subtype="html")
    if notice.letter.picture is not None:
        html = message.get_payload(1)
        assert isinstance(html, EmailMessage)
        html.add_related(
            notice.letter.picture, "image", "png", cid="<plot>", filename="plot.png", disposition="inline"
        )
    return message


def _refusal(
    settings: EmailSettings, recipient: str, code: int, words: str
) -> NotifierRefused | NotifierUnavailable:
    """Return what the server's answer asks of the caller: 4xx wait and repeat, 5xx never again."""
    said = f"{settings.address} {{}} mail to {recipient}: {code} {' '.join(words.split())}"
    if code < 500:
        return NotifierUnavailable(f"{said.format('does not take')}: this is tried again")
    return NotifierRefused(
        f"{said.format('refused')}: check the address in recipients, and whether the server "
        f"may send for {settings.sender}"
    )


def explain_send_error(settings: EmailSettings, error: Exception) -> str:
    """Return why no conversation came about and what to do, in one line for a person."""
    where = f"the mail server {settings.address}"
    if isinstance(error, ssl.SSLCertVerificationError) or isinstance(
        error.__cause__, ssl.SSLCertVerificationError
    ):
        return f"{where} shows a certificate that is not trusted ({error}): check host, or set ca_file"
    if "STARTTLS" in str(error):
        return f"{where} offers no STARTTLS, which starttls: required asks for: check the port (587?)"
    if isinstance(error, TimeoutError):
        return f"{where} does not answer in time: check host, port and the firewall; this is tried again"
    if isinstance(error, aiosmtplib.SMTPServerDisconnected):
        return f"{where} closed the connection before it had accepted the mail: this is tried again"
    return f"{where} cannot be reached ({error}): check host and port; this is tried again"
