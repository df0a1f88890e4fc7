"""E-mail settings and messages: one mailbox each, no header from a machine, no password in clear."""

from email import message_from_bytes, policy
from pathlib import Path

import pytest
from pydantic import ValidationError

from cloud.alerts.settings import AlertSettings
from cloud.notifiers import Letter, Notice
from cloud.notifiers.email import EmailSettings, compose_message
from cloud.notifiers.outbox import Address
from cloud.notifiers.post import make_notice
from cloud.notifiers.shelf import list_addresses
from models.settings import SettingsError, load_settings
from tests.unit.alert_rig import make_alert

SETTINGS = {"kind": "email", "host": "mail.plant.example", "sender": "Forewarn <forewarn@plant.example>"}
LETTER = Letter("[Forewarn] Pumpe 7: Lagertemperatur über normal", "text °C", "<p>html</p>", b"\x89PNG")


def test_a_message_has_text_html_and_the_picture_inside() -> None:
    """Every mail program finds something to show, and the Message-ID is the alert's."""
    alert = make_alert()
    message = compose_message(make_notice(alert, "raised", LETTER), SETTINGS["sender"], "Crew <c@p.example>")
    read = message_from_bytes(message.as_bytes(), policy=policy.default)
    assert read["Subject"] == LETTER.subject
    assert read["Message-ID"] == f"<{alert.id}@plant.example>"
    assert read["In-Reply-To"] is None
    assert read["Auto-Submitted"] == "auto-generated"
    text, html = read.get_body(("plain",)), read.get_body(("html",))
    assert text is not None
    assert html is not None
    assert (text.get_content().strip(), html.get_content().strip()) == ("text °C", "<p>html</p>")
    pictures = [part for part in read.walk() if part.get_content_type() == "image/png"]
    assert [(part["Content-ID"], part.get_content()) for part in pictures] == [("<plot>", b"\x89PNG")]


def test_a_later_notice_follows_the_first() -> None:
    """Mail programs put an escalation under its alert, and do not drop it as a repeat."""
    alert = make_alert()
    message = compose_message(make_notice(alert, "escalated", LETTER), SETTINGS["sender"], "c@p.example")
    assert message["Message-ID"] == f"<{alert.id}.escalated@plant.example>"
    assert message["In-Reply-To"] == message["References"] == f"<{alert.id}@plant.example>"


def test_a_line_break_in_a_subject_never_becomes_a_header() -> None:
    """The library refuses what the letter would have cleaned already."""
    notice = Notice("x", None, "raised", make_alert(), Letter("a\r\nBcc: evil@example.org", "", ""))
    with pytest.raises(ValueError, match="linefeed"):
        compose_message(notice, SETTINGS["sender"], "c@p.example")


@pytest.mark.parametrize(
    "recipient",
    [
        "crew@plant.example, evil@example.org",
        "crew@plant.example\r\nBcc: evil@example.org",
        "crew",
        "@plant.example",
        "crew@",
        "",
        "crew@plant.example evil@example.org",
        "jürgen@plant.example",
    ],
)
def test_what_is_not_one_mailbox_is_refused(recipient: str) -> None:
    """A second recipient cannot hide in an address."""
    with pytest.raises(ValidationError, match=r"recipients\.0"):
        EmailSettings(**SETTINGS, recipients=[recipient])


def test_mistakes_are_named_with_their_line(tmp_path: Path) -> None:
    """The settings file is answered with line, column and the mend."""
    path = tmp_path / "mail.yaml"
    path.write_text(
        "kind: email\nhost: mail.plant.example\nsender: forewarn@plant.example\n"
        "recipients: [crew]\nstarttls: requierd\npassword: hunter2\n"
    )
    with pytest.raises(SettingsError) as caught:
        load_settings(path, EmailSettings)
    lines = str(caught.value).splitlines()
    assert (
        "mail.yaml:4:14 recipients[0]: 'crew' is not one e-mail address such as crew@plant.example"
        in lines[0]
    )
    assert "Did you mean required?" in lines[1]
    assert "a secret is never written in YAML" in lines[2]
    assert "hunter2" not in str(caught.value)


def test_a_password_never_travels_in_clear() -> None:
    """Without TLS a password is refused, except to this very machine."""
    clear = {**SETTINGS, "recipients": ["c@p.example"], "username": "u", "password": {"env": "X"}}
    with pytest.raises(ValidationError, match=r"in clear to mail\.plant\.example"):
        EmailSettings(**clear, starttls="none")
    with pytest.raises(ValidationError, match="in clear"):
        EmailSettings(**clear, starttls="opportunistic")
    assert EmailSettings(**clear).starttls == "required"
    assert EmailSettings(**{**clear, "host": "127.0.0.1"}, starttls="none").password is not None
    with pytest.raises(ValidationError, match="belong together"):
        EmailSettings(**SETTINGS, recipients=["c@p.example"], username="u")


def test_two_notifiers_of_one_name_are_refused() -> None:
    """The outbox could not tell which server still owes a mail."""
    one, other = (EmailSettings(**SETTINGS, recipients=[who]) for who in ("a@p.example", "b@p.example"))
    with pytest.raises(SettingsError, match="'email' is the name of more than one"):
        list_addresses([one, other])
    named = EmailSettings(**SETTINGS, name="backup", recipients=["b@p.example", "b@p.example"])
    assert list_addresses([one, named]) == [Address("email", "a@p.example"), Address("backup", "b@p.example")]


def test_patience_that_can_never_end_is_refused() -> None:
    """More windows above than windows: no alert could ever be raised."""
    with pytest.raises(ValidationError, match="no alert could ever be raised"):
        AlertSettings(windows=5, windows_above=8)
