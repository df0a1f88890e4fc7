"""Makes our own certificate, and judges those that servers show: pure, but for the making of keys."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

YEARS_VALID = 10
"""A gateway runs for years without a visit; its certificate is trusted by each server by hand."""

KEY_BITS = 2048  # what each of the three policies takes (OPC 10000-7)
WARN_DAYS = (30, 7, 1)
_DAY = timedelta(days=1)


class CertificateRefused(ValueError):
    """The server's certificate is not good enough; the message says why and the mend."""


class CertificateUnknown(CertificateRefused):
    """Nothing is wrong with the certificate, but nobody has said yet that it is to be trusted."""


def load_certificate(octets: bytes) -> x509.Certificate:
    """Return a certificate in PEM or DER, the first of a chain; raise ValueError for anything else."""
    if octets.lstrip().startswith(b"-----BEGIN"):
        return x509.load_pem_x509_certificate(octets)
    # A server may send its certificate followed by those of its issuers: DER says how long the first is.
    size = len(octets)
    if octets[:2] == b"\x30\x82" and len(octets) >= 4:
        size = 4 + int.from_bytes(octets[2:4], "big")
    return x509.load_der_x509_certificate(octets[:size])


def find_application_uri(certificate: x509.Certificate) -> str | None:
    """Return the URI by which the certificate names its application; None without one."""
    names = _list_names(certificate)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier) if names else []
    return uris[0] if uris else None


def name_certificate(certificate: x509.Certificate) -> str:
    """Return who the certificate says it is of, on one line."""
    return certificate.subject.rfc4514_string() or "nobody"


def write_fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of the certificate as servers and browsers show it: AB:CD:..."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def judge_certificate(
    shown: x509.Certificate,
    hosts: Sequence[str],
    now: datetime,
    trusted: Sequence[x509.Certificate],
    revoked: Sequence[x509.CertificateRevocationList] = (),
) -> None:
    """Return when a server at one of `hosts` may show this; raise `CertificateRefused` with the reason.

    Trusted is what stands in `trusted` itself, and what an authority issued that stands there. The time is
    judged first: a computer without the right time would take all for expired.
    """
    check_time(shown, now)
    if shown not in trusted:
        issuers = [one for one in trusted if _is_issued_by(shown, one)]
        if not issuers:
            raise CertificateUnknown("its certificate is not trusted yet")
        for issuer in issuers:
            check_time(issuer, now)
            _check_revoked(shown, issuer, revoked)
    check_host(shown, hosts)


def check_time(certificate: x509.Certificate, now: datetime) -> None:
    """Raise `CertificateRefused` when the certificate is expired or not yet valid."""
    clock = f"this computer's clock says {now:%Y-%m-%d %H:%M} UTC"
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begin:
        raise CertificateRefused(
            f"the certificate of {name_certificate(certificate)} is not valid before "
            f"{begin:%Y-%m-%d %H:%M} UTC, and {clock}: set the clock that is wrong, mostly this one (NTP)"
        )
    if now > end:
        raise CertificateRefused(
            f"the certificate of {name_certificate(certificate)} expired on {end:%Y-%m-%d %H:%M} UTC "
            f"({clock}): make a new one on the server and trust that"
        )


def check_host(certificate: x509.Certificate, hosts: Sequence[str]) -> None:
    """Raise `CertificateRefused` unless the certificate names one of `hosts`."""
    names = _list_hosts(certificate)
    wanted = {_normalise(host) for host in hosts}
    if not wanted & {_normalise(name) for name in names}:
        raise CertificateRefused(
            f"its certificate is for {', '.join(names[:5]) or 'no host at all'}, "
            f"not for {' or '.join(hosts)}: use that name in the url, or say server_name: NAME under security"
        )


def _check_revoked(
    shown: x509.Certificate, issuer: x509.Certificate, lists: Sequence[x509.CertificateRevocationList]
) -> None:
    for one in lists:
        if (
            one.issuer == issuer.subject
            and one.get_revoked_certificate_by_serial_number(shown.serial_number) is not None
        ):
            raise CertificateRefused(
                f"the certificate of {name_certificate(shown)} has been revoked by "
                f"{name_certificate(issuer)}: the server needs a new one"
            )


def _is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        is_authority = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        certificate.verify_directly_issued_by(issuer)
    except (x509.ExtensionNotFound, ValueError, TypeError, InvalidSignature):
        return False
    return is_authority and certificate != issuer


def _list_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def _list_hosts(certificate: x509.Certificate) -> list[str]:
    names = _list_names(certificate)
    if names is None:
        return []
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return [*names.get_values_for_type(x509.DNSName), *addresses]


def _normalise(host: str) -> str:
    try:
        return str(ip_address(host))
    except ValueError:
        return host.rstrip(".").casefold()


def find_warning(certificate: x509.Certificate, now: datetime) -> int | None:
    """Return the smallest of 30, 7 and 1 days within which the certificate ends; None when it is later."""
    left = certificate.not_valid_after_utc - now
    return min((days for days in WARN_DAYS if left <= days * _DAY), default=None)


def make_certificate(host: str, now: datetime) -> tuple[bytes, bytes]:
    """Return a new certificate (DER), signed by itself, of the Forewarn on `host`, and its key (PEM)."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, f"Forewarn on {host}"[:64]),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Forewarn"),
        ]
    )
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        key_cert_sign=True,  # OPC 10000-6, 6.2.2 wants it of what signs itself
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    uri = x509.UniformResourceIdentifier(f"urn:{host}:forewarn")
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - _DAY)  # a server whose clock is behind takes it too
        .not_valid_after(now + YEARS_VALID * 365 * _DAY)
        .add_extension(x509.SubjectAlternativeName([uri, x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.DER), pem


def read_clock() -> datetime:
    """Return this computer's time."""
    return datetime.now(UTC)
