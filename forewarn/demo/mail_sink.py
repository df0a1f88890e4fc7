"""A mail server for the demo: takes every mail and lays it down as .eml and .html, to be looked at."""

import email
import email.policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller


class MailSink:
    """An SMTP server on 127.0.0.1 that writes `mail/NNN.eml` and `mail/NNN.html`."""

    def __init__(self, port: int, folder: Path) -> None:
        self.folder = folder
        self._controller = Controller(self, hostname="127.0.0.1", port=port)

    def start(self) -> None:
        """Begin to take mail, in a thread of its own."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._controller.start()

    def stop(self) -> None:
        """Let go of the port."""
        self._controller.stop()

    def list_mails(self) -> list[Path]:
        """Return the .html files of the mails, oldest first."""
        return sorted(self.folder.glob("*.html"))

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802  # SMTP's name
        """Write one mail down; aiosmtpd calls this."""
        number = len(list(self.folder.glob("*.eml"))) + 1
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        (self.folder / f"{number:03}.html").write_text(render_mail(message), encoding="utf-8")
        (self.folder / f"{number:03}.eml").write_bytes(envelope.content)
        return "250 Message accepted"


def render_mail(message: EmailMessage) -> str:
    """Return the mail's HTML with its inline pictures inside, so that a browser shows it whole."""
    body = message.get_body(("html", "plain"))
    html = str(body.get_content()) if body is not None else ""
    for part in message.walk():
        name = str(part.get("Content-ID", "")).strip("<>")
        if name and part.get_content_maintype() == "image":
            picture = "".join(str(part.get_payload()).split())
            html = html.replace(f"cid:{name}", f"data:{part.get_content_type()};base64,{picture}")
    return html
