"""The SMTP conversation itself: TLS, logins, and what the server's answers ask of us."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from cloud.notifiers import Letter, NotifierRefused, NotifierUnavailable
from cloud.notifiers.post import make_notice
from models.settings import Secret
from tests.integration.mail_rig import MailServer, accept_only, make_email_settings, make_server_context
from tests.unit.alert_rig import make_alert

CREW = "crew@plant.example"
NOTICE = make_notice(make_alert(), "raised", Letter("Subject", "text", "<p>html</p>"))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost that nobody trusts yet, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    made, key = folder / "server.pem", folder / "server.key"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(
        [*request, *names, "-keyout", str(key), "-out", str(made)], check=True, capture_output=True
    )
    return made, key


async def send_through(port: int, **fields: Any) -> None:
    """Send one notice with these settings."""
    await make_email_settings(port, **fields).build().send(NOTICE, CREW)


async def test_starttls_is_required_unless_told_otherwise(mail_server: MailServer) -> None:
    """A server without STARTTLS gets no mail in clear; `opportunistic` takes what there is."""
    with pytest.raises(NotifierUnavailable, match="offers no STARTTLS"):
        await send_through(mail_server.port, starttls="required")
    assert mail_server.taken == []
    await send_through(mail_server.port, starttls="opportunistic")
    assert len(mail_server.taken) == 1


async def test_tls_is_checked_and_a_password_used(
    certificate: tuple[Path, Path], free_port: int, tmp_path: Path
) -> None:
    """An untrusted certificate and a wrong password are named with the mend; with both right it is sent."""
    made, key = certificate
    mail_server = MailServer(
        free_port,
        tls_context=make_server_context(made, key),
        require_starttls=True,
        auth_required=True,
        authenticator=accept_only("forewarn", "geheim"),
    )
    mail_server.start()
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("geheim\n")
    wrong.write_text("falsch\n")
    tls = {"starttls": "required", "username": "forewarn"}
    try:
        with pytest.raises(NotifierUnavailable, match=r"certificate that is not trusted.*ca_file"):
            await send_through(free_port, **tls, password=Secret(file=right))
        with pytest.raises(NotifierUnavailable, match="cannot read the secret"):
            await send_through(free_port, **tls, password=Secret(file=tmp_path / "none"), ca_file=made)
        with pytest.raises(NotifierUnavailable, match=r"user 'forewarn' \(535.*check username") as caught:
            await send_through(free_port, **tls, password=Secret(file=wrong), ca_file=made)
        assert "falsch" not in str(caught.value)
        await send_through(free_port, **tls, password=Secret(file=right), ca_file=made)
    finally:
        mail_server.stop()
    assert len(mail_server.taken) == 1


async def test_tls_from_the_first_byte(certificate: tuple[Path, Path], free_port: int) -> None:
    """`tls: true` speaks to port 465's kind of server."""
    made, key = certificate
    mail_server = MailServer(
        free_port, server_hostname="localhost", ssl_context=make_server_context(made, key)
    )
    mail_server._controller.ssl_context.check_hostname = False
    mail_server.start()
    try:
        await send_through(free_port, tls=True, ca_file=made)
    finally:
        mail_server.stop()
    assert len(mail_server.taken) == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [("554 5.6.0 Rejected as spam", NotifierRefused), ("452 4.3.1 Disk full", NotifierUnavailable)],
)
async def test_the_servers_words_after_the_mail_decide(
    mail_server: MailServer, answer: str, error: type[Exception]
) -> None:
    """5xx is for ever, 4xx is for now, and the words are the server's."""
    mail_server.to_mail = [answer]
    with pytest.raises(error, match=answer[4:]):
        await send_through(mail_server.port)
