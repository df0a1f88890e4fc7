"""When the certificates of the way to the broker end: the broker's, the authorities', our own."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from models.link.settings import TlsSettings
from models.words import say_duration, say_instant

if TYPE_CHECKING:
    from cryptography import x509

WARN_DAYS = (30, 7, 1)
DAY_S = 86_400


class Ending(msgspec.Struct, frozen=True):
    """Whose certificate ends, and when (seconds since 1970); `place` is its file, or who showed it."""

    whose: str
    place: str
    end_s: float

    def find_stage(self, now_s: float) -> int | None:
        """Return the smallest of 30, 7 and 1 days within which it ends; None when that is later."""
        return min((days for days in WARN_DAYS if self.end_s - now_s <= days * DAY_S), default=None)

    def describe(self, now_s: float) -> str:
        """Return the warning in words for a person."""
        left_s, end = self.end_s - now_s, say_instant(round(self.end_s * 1e9))
        when = f"ends in {say_duration(left_s)}, on {end}" if left_s > 0 else f"has ended on {end}"
        return f"{self.whose} certificate ({self.place}) {when}: renew it before the link ends with it"


def list_endings(tls: TlsSettings, shown: bytes | None, address: str) -> list[Ending]:
    """Return when each certificate ends; `shown` is what the broker at `address` showed (DER), if it did.

    Files that cannot be read are left out: `check_credentials` says why.
    """
    # A gateway without TLS does without its 8 MB.
    from cryptography import x509

    found = []
    if shown is not None:
        found.append(_make_ending("the broker's", address, x509.load_der_x509_certificate(shown)))
    for whose, file in (("the authority's", tls.ca_file), ("our own", tls.certificate_file)):
        if file is not None:
            found += [_make_ending(whose, str(file), one) for one in _load(file)]
    return found


def choose_soonest(endings: Sequence[Ending], now_s: float) -> list[Ending]:
    """Return those of which a person should know now, the most urgent first."""
    near = [one for one in endings if one.find_stage(now_s) is not None]
    return sorted(near, key=lambda one: one.end_s)


def _load(file: Path) -> "list[x509.Certificate]":
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(file.read_bytes())
    except (OSError, ValueError):
        return []


def _make_ending(whose: str, place: str, certificate: "x509.Certificate") -> Ending:
    return Ending(whose, place, certificate.not_valid_after_utc.timestamp())
