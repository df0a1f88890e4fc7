"""Reads what our own certificate says of us."""

from pathlib import Path

from cryptography import x509


def read_application_uri(file: Path) -> str | None:
    """Return the URI by which the certificate (PEM or DER) names its application; None without one.

    Raise ValueError for what is no certificate, OSError for a file that cannot be read.
    """
    octets = file.read_bytes()
    is_text = octets.lstrip().startswith(b"-----BEGIN")
    load = x509.load_pem_x509_certificate if is_text else x509.load_der_x509_certificate
    try:
        names = load(octets).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return uris[0] if uris else None
