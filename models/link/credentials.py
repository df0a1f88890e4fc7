"""Looks at the broker's password and certificates before the start, where a person can still mend them."""

from models.link.settings import BrokerSettings
from models.link.tls import make_tls_context
from models.settings import SettingsError


def check_credentials(broker: BrokerSettings) -> None:
    """Return when the password and the TLS files can be read; raise `SettingsError` saying which cannot."""
    if broker.password is not None:
        broker.password.read()
    if broker.tls is None:
        return
    for name in ("ca_file", "certificate_file", "key_file"):
        file = getattr(broker.tls, name)
        if file is not None and not file.is_file():
            raise SettingsError(f"broker.tls.{name}: there is no file {file}")
    try:
        make_tls_context(broker.tls)
    except OSError as error:  # ssl.SSLError is one
        raise SettingsError(
            f"broker.tls: the certificate files cannot be used ({error}): they must be PEM, "
            "and key_file the key of certificate_file"
        ) from error
