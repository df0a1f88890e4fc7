"""TLS to the broker: what is checked, and against which name."""

import ssl
from typing import Any

from models.link.settings import TlsSettings


def make_tls_context(settings: TlsSettings) -> ssl.SSLContext:
    """Return a client context, TLS 1.2 or newer, that checks the broker's certificate and name."""
    context = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.server_name = settings.server_name
    if settings.ca_file is not None:
        context.load_verify_locations(settings.ca_file)
    else:
        context.load_default_certs()
    if settings.certificate_file is not None:
        context.load_cert_chain(settings.certificate_file, settings.key_file)
    return context


class _NamedContext(ssl.SSLContext):
    """Checks the certificate against a set name where the broker is reached under another (an IP address)."""

    server_name: str | None = None

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        if self.server_name is not None:
            kwargs["server_hostname"] = self.server_name
        return super().wrap_socket(*args, **kwargs)
