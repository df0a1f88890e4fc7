"""The list of notifiers: a new channel is one module and one line here."""

from collections.abc import Sequence

from cloud.notifiers.email import EmailSettings
from cloud.notifiers.outbox import Address
from models.settings import SettingsError

NotifierSettings = EmailSettings


def list_addresses(notifiers: Sequence[NotifierSettings]) -> list[Address]:
    """Return everybody to tell, each once; raise `SettingsError` when two notifiers share a name."""
    names = [one.name for one in notifiers]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise SettingsError(
            f"notifiers: {repeated!r} is the name of more than one: give each a `name` of its own, "
            "by which the outbox remembers what it still has to send through which"
        )
    return list(
        dict.fromkeys(Address(one.name, recipient) for one in notifiers for recipient in one.recipients)
    )
