"""The list of notifiers: a new channel is one module and one line here."""

from collections.abc import Sequence

import msgspec

from cloud.notifiers import TellHistory
from cloud.notifiers.email import EmailSettings
from cloud.notifiers.outbox import Address
from models.settings import SettingsError

NotifierSettings = EmailSettings


class DigestReader(msgspec.Struct, frozen=True):
    """Somebody who is told of history, and of which."""

    address: Address
    wish: TellHistory

    def wants(self, *, is_news: bool) -> bool:
        """Return whether to tell of a digest; `is_news`: it holds something strange that no alert told of."""
        return self.wish == "all" or (self.wish == "strange" and is_news)


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


def list_digest_readers(notifiers: Sequence[NotifierSettings]) -> list[DigestReader]:
    """Return everybody who is told of history, and of which."""
    return [
        DigestReader(Address(one.name, recipient), one.history)
        for one in notifiers
        for recipient in dict.fromkeys(one.recipients)
        if one.history != "never"
    ]
