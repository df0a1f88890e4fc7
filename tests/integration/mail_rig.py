"""A real SMTP server on 127.0.0.1 that takes, refuses, hangs or drops as a test wants it to."""

import asyncio
import ssl
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import numpy as np
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from cloud.notifiers.email import EmailSettings
from cloud.stores import Measurement, StoredMachine, StoreUnavailable, Table
from models.telemetry import MachinePath


class MailServer:
    """Answers recipients and mails from scripts; what runs out of script is taken.

    `to_recipient[address]` and `to_mail` are lists of answers still to be given: an SMTP line, or
    "hang" or "drop" (the connection, after the mail has been taken).
    """

    def __init__(self, port: int, **options: Any) -> None:
        self.port = port
        self.taken: list[tuple[str, EmailMessage]] = []
        self.to_recipient: dict[str, list[str]] = {}
        self.to_mail: list[str] = []
        self._let_go = asyncio.Event()
        self._controller = Controller(self, hostname="127.0.0.1", port=port, **options)

    def start(self) -> None:
        """Listen, in a thread of its own."""
        self._controller.start()

    def stop(self) -> None:
        """Stop listening and let go of hanging conversations."""
        self._controller.loop.call_soon_threadsafe(self._let_go.set)
        self._controller.stop()

    async def handle_RCPT(  # noqa: N802  # aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        answers = self.to_recipient.get(address, [])
        answer = answers.pop(0) if answers else "250 OK"
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(  # noqa: N802  # aiosmtpd's name
        self, server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        answer = self.to_mail.pop(0) if self.to_mail else "250 OK"
        if answer == "hang":
            await self._let_go.wait()
            return "421 stopped"
        if answer[0] in "2d":
            assert isinstance(envelope.content, bytes)
            message = message_from_bytes(envelope.content, policy=policy.default)
            assert isinstance(message, EmailMessage)
            self.taken += [(address, message) for address in envelope.rcpt_tos]
        if answer == "drop":
            assert server.transport is not None
            server.transport.abort()
        return answer


def accept_only(username: str, password: str) -> Any:
    """Return an authenticator that knows one user."""

    def check(_server: Any, _session: Any, _envelope: Any, _kind: Any, given: Any) -> AuthResult:
        assert isinstance(given, LoginPassword)
        is_right = (given.login, given.password) == (username.encode(), password.encode())
        return AuthResult(success=is_right, handled=False)

    return check


def make_email_settings(port: int, **fields: Any) -> EmailSettings:
    """Return settings for the server on `port`, in clear unless told otherwise."""
    known = {
        "kind": "email",
        "host": "127.0.0.1",
        "port": port,
        "sender": "Forewarn <forewarn@plant.example>",
        "recipients": ["crew@plant.example"],
        "starttls": "none",
        "timeout_s": 1.0,
    }
    return EmailSettings(**{**known, **fields})


def make_server_context(certificate: Any, key: Any) -> ssl.SSLContext:
    """Return what a server shows to its clients."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


class RampReader:
    """A store with one pump whose vibration rises from ten seconds before `raised_s` on."""

    def __init__(self, raised_s: float) -> None:
        self.raised_s = raised_s
        self.away = False

    def read(
        self,
        measurement: Measurement,
        machine: MachinePath,
        start_ns: int,
        end_ns: int,
        tags: Any = None,
    ) -> Table:
        if self.away:
            raise StoreUnavailable("the store is away")
        times = np.arange(start_ns / 1e9, min(end_ns / 1e9, self.raised_s + 2), 0.5)
        rise = np.clip(times - self.raised_s + 10, 0, None)
        columns = {
            "telemetry": {"vibration_velocity": 2 + rise / 2, "bearing_temperature": 61 + rise},
            "expected": {"vibration_velocity": 2 + 0 * rise, "bearing_temperature": 61 + 0 * rise},
            "score": {"score": 0.3 + rise / 5, "limit": 1 + 0 * rise},
        }[measurement]
        known = {tag: column for tag, column in columns.items() if tags is None or tag in tags}
        return Table((times * 1e9).astype(np.int64), known, {})

    def list_machines(self) -> list[StoredMachine]:
        return []

    def close(self) -> None:
        pass
