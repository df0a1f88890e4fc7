"""Which certificates a server may show, which are refused by name, and what our own says."""

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID

from edge.drivers.opcua.certificates import (
    CertificateRefused,
    CertificateUnknown,
    find_application_uri,
    find_warning,
    judge_certificate,
    load_certificate,
    make_certificate,
)
from edge.drivers.opcua.pki import REJECTED_MAX, Pki, PkiUnusable
from edge.drivers.opcua.settings import is_loopback

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
DAY = timedelta(days=1)


@cache
def make_key(_name: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def issue(
    subject: str,
    issuer: str = "",
    *,
    begin: timedelta = -DAY,
    end: timedelta = 365 * DAY,
    is_ca: bool = False,
) -> x509.Certificate:
    """Make a certificate of the host `plc.plant`, signed by `issuer` or by itself."""
    names = [x509.DNSName("plc.plant"), x509.UniformResourceIdentifier("urn:plc")]
    return (
        x509.CertificateBuilder(name(issuer or subject), name(subject), make_key(subject).public_key())
        .serial_number(7)
        .not_valid_before(NOW + begin)
        .not_valid_after(NOW + end)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .sign(make_key(issuer or subject), hashes.SHA256())
    )


def revoke(issuer: str, serial: int) -> x509.CertificateRevocationList:
    one = x509.RevokedCertificateBuilder(serial, NOW - DAY).build()
    builder = x509.CertificateRevocationListBuilder(
        name(issuer), NOW - DAY, NOW + DAY
    ).add_revoked_certificate(one)
    return builder.sign(make_key(issuer), hashes.SHA256())


def test_a_trusted_certificate_and_one_of_a_trusted_authority_pass() -> None:
    """Trust is for a certificate itself, or for who issued it; a host's case and final dot are no matter."""
    shown, authority = issue("plc", "authority"), issue("authority", is_ca=True)
    judge_certificate(shown, ["PLC.plant."], NOW, [shown])
    judge_certificate(shown, ["plc.plant"], NOW, [authority], [revoke("authority", 8)])


def test_an_unknown_certificate_is_refused() -> None:
    """Another's certificate does not vouch, nor an authority of the same name, nor an issuer that is none."""
    shown = issue("plc", "authority")
    for trusted in ([], [issue("other")], [issue("authority")]):
        with pytest.raises(CertificateUnknown):
            judge_certificate(shown, ["plc.plant"], NOW, trusted)
    fake = (
        x509.CertificateBuilder(name("authority"), name("authority"), make_key("rogue").public_key())
        .serial_number(9)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(make_key("rogue"), hashes.SHA256())
    )
    with pytest.raises(CertificateUnknown):
        judge_certificate(shown, ["plc.plant"], NOW, [fake])


@pytest.mark.parametrize(
    ("shown", "hosts", "expected"),
    [
        (issue("plc", end=-timedelta(hours=1)), ["plc.plant"], "expired on 2026-11-23 03:00 UTC"),
        (
            issue("plc", begin=DAY),
            ["plc.plant"],
            "not valid before 2026-11-24 04:00 UTC, and this computer's clock",
        ),
        (issue("plc"), ["192.168.0.10"], "is for plc.plant, not for 192.168.0.10: use that name in the url"),
    ],
)
def test_what_is_wrong_with_a_trusted_certificate_is_named(
    shown: x509.Certificate, hosts: list[str], expected: str
) -> None:
    """Trust does not make an expired certificate good, nor one of another host."""
    with pytest.raises(CertificateRefused, match=expected):
        judge_certificate(shown, hosts, NOW, [shown])


def test_a_revoked_certificate_is_refused() -> None:
    """An authority's list takes back what it has issued; the list of another authority does not."""
    shown, authority = issue("plc", "authority"), issue("authority", is_ca=True)
    judge_certificate(shown, ["plc.plant"], NOW, [authority], [revoke("other", 7)])
    with pytest.raises(CertificateRefused, match="has been revoked by CN=authority"):
        judge_certificate(shown, ["plc.plant"], NOW, [authority], [revoke("authority", 7)])


def test_an_authority_out_of_date_vouches_for_nobody() -> None:
    """The issuer's dates count as the certificate's own do."""
    shown, authority = issue("plc", "authority"), issue("authority", end=-DAY / 2, is_ca=True)
    with pytest.raises(CertificateRefused, match="CN=authority expired"):
        judge_certificate(shown, ["plc.plant"], NOW, [authority])


@pytest.mark.parametrize(("days", "expected"), [(31, None), (30, 30), (7.5, 30), (7, 7), (0.5, 1), (-1, 1)])
def test_an_end_is_told_in_three_stages(days: float, expected: int | None) -> None:
    """30, 7 and 1 days before."""
    assert find_warning(issue("plc", begin=-9 * DAY, end=days * DAY), NOW) == expected


def test_our_own_certificate_says_what_servers_ask_for() -> None:
    """Application URI, host, key usages, ten years; its key fits."""
    octets, pem = make_certificate("pi-01", NOW)
    own = load_certificate(octets)
    assert find_application_uri(own) == "urn:pi-01:forewarn"
    assert own.not_valid_before_utc < NOW < own.not_valid_after_utc
    assert (own.not_valid_after_utc - NOW).days == 3650
    assert load_pem_private_key(pem, None).public_key() == own.public_key()
    own.verify_directly_issued_by(own)
    assert load_certificate(octets + issue("issuer").public_bytes(Encoding.DER)) == own


def test_our_own_certificate_is_made_once(tmp_path: Path) -> None:
    """The second time the same files are returned; nobody but us reads the key."""
    certificate, key = Pki(tmp_path / "pki").prepare_own()
    octets = certificate.read_bytes()
    assert Pki(tmp_path / "pki").prepare_own() == (certificate, key)
    assert certificate.read_bytes() == octets
    assert key.stat().st_mode & 0o077 == 0
    assert [file.name for file in (tmp_path / "pki").iterdir()] == ["own"]


def test_an_unknown_certificate_waits_until_it_is_trusted(tmp_path: Path) -> None:
    """Refused with its fingerprint and the command, kept under that name, accepted once trusted."""
    pki, shown = Pki(tmp_path), load_certificate(make_certificate("localhost", datetime.now(UTC))[0])
    with pytest.raises(
        CertificateRefused, match=r"forewarn edge trust forewarn-on-localhost-\w{8} --pki "
    ) as told:
        pki.check(shown, ["localhost"])
    assert shown.fingerprint(hashes.SHA256()).hex(":").upper() in str(told.value)
    ((waiting, kept),) = pki.list_rejected()
    assert kept == shown
    with pytest.raises(PkiUnusable, match=f"waiting there: {waiting}"):
        pki.trust("../own/forewarn")
    pki.trust(waiting)
    pki.check(shown, ["localhost"])
    assert pki.list_rejected() == []


def test_no_more_unknown_certificates_are_kept_than_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hostile server that shows a new one at each connect does not fill the disk."""
    assert REJECTED_MAX == 100
    monkeypatch.setattr("edge.drivers.opcua.pki.REJECTED_MAX", 3)
    for at in range(5):
        with pytest.raises(CertificateRefused):
            Pki(tmp_path).check(
                issue(f"plc {at}", begin=datetime.now(UTC) - NOW - DAY, end=10_000 * DAY), ["x"]
            )
    assert len(Pki(tmp_path).list_rejected()) == 3


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    """Rubbish in the folder is a matter for a person, not for a stack trace."""
    (tmp_path / "trusted").mkdir()
    (tmp_path / "trusted" / "notes.pem").write_text("hello")
    with pytest.raises(PkiUnusable, match=r"notes\.pem: is no certificate"):
        Pki(tmp_path).check(issue("plc"), ["plc.plant"])


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("opc.tcp://127.0.0.1:4840", True),
        ("opc.tcp://[::1]:4840", True),
        ("opc.tcp://localhost", True),
        ("opc.tcp://10.0.0.1:4840", False),
        ("opc.tcp://plc:4840", False),
    ],
)
def test_only_this_computer_is_loopback(url: str, expected: bool) -> None:
    """No security is said of every server but one on this computer."""
    assert is_loopback(url) is expected
