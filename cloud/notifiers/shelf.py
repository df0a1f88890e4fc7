"""The list of notifiers: a new channel is one module and one line here."""

from collections.abc import Sequence

from cloud.notifiers.email import EmailSettings
from cloud.notifiers.outbox import Address

NotifierSettings = EmailSettings


def list_addresses(notifiers: Sequence[NotifierSettings]) -> list[Address]:
    """Return everybody to tell, each once."""
    return list(
        dict.fromkeys(Address(one.name, recipient) for one in notifiers for recipient in one.recipients)
    )
