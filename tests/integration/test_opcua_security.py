"""Getting in over OPC UA: certificates, trust, and what is refused."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.server.user_managers import CertificateUserManager
from structlog.testing import capture_logs
from typer.testing import CliRunner

from edge.drivers import NotConnected
from edge.drivers.opcua.certificates import make_certificate
from edge.drivers.opcua.driver import OpcuaDriver
from forewarn.commands.edge import app
from tests.integration.drivers_rig import HOST, Identity, OpcuaRig
from tests.integration.opcua_rig import build, read_for

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_encrypted_connection_trusts_one_certificate_only(
    own_opcua: OpcuaRig, tmp_path: Path
) -> None:
    """With the server's own certificate pinned values flow; a server that shows another is refused."""
    ours, server, other = (Identity(tmp_path, name) for name in ("ours", "server", "other"))
    for identity in (ours, server, other):
        await identity.make()
    own_opcua.identity = server
    await own_opcua.start({"a": 1.5})
    files = {"certificate": str(ours.certificate), "private_key": str(ours.private_key)}
    driver = build(own_opcua, {"a": "a"}, security={**files, "server_certificate": str(server.certificate)})
    await driver.connect()
    assert [value for value, _ in (await read_for(driver, "a", 1)).values()] == [1.5]
    await driver.close()
    wary = build(
        own_opcua, {"a": "a"}, security={**files, "server_certificate": str(other.certificate)}, timeout_s=1.0
    )
    with pytest.raises(NotConnected, match="OPC UA server"):
        await wary.connect()
    careless = build(own_opcua, {"a": "a"})
    with pytest.raises(NotConnected, match="offers no endpoint with this security"):
        await careless.connect()


async def test_a_missing_certificate_is_named(own_opcua: OpcuaRig, tmp_path: Path) -> None:
    """Certificate files that are not there are named, with the key of the settings."""
    missing = {
        name: str(tmp_path / f"{name}.der") for name in ("certificate", "private_key", "server_certificate")
    }
    driver = build(own_opcua, {"a": "a"}, security=missing)
    with pytest.raises(NotConnected, match=r"cannot read .*certificate\.der: check the paths below security"):
        await driver.connect()


async def test_files_that_are_no_certificates_are_named_as_such(own_opcua: OpcuaRig, tmp_path: Path) -> None:
    """A text file in place of a certificate is a matter of the settings, not of the server."""
    names = ("certificate", "private_key", "server_certificate")
    for name in names:
        (tmp_path / name).write_text("not a certificate")
    driver = build(own_opcua, {"a": "a"}, security={name: str(tmp_path / name) for name in names})
    with pytest.raises(NotConnected, match="the files below security are no certificates and key"):
        await driver.connect()


async def start_with(rig: OpcuaRig, folder: Path, *policies: str) -> None:
    """Start a server that has a certificate of this host and offers these securities."""
    rig.identity = Identity(folder, "server")
    await rig.identity.make()
    rig.policies = [ua.SecurityPolicyType[policy] for policy in policies]
    await rig.start({"a": 1.5})


async def trust(folder: Path, driver: OpcuaDriver) -> str:
    """Connect, be refused, do what the error says; return the error."""
    with pytest.raises(NotConnected) as told:
        await driver.connect()
    command = str(told.value).partition("then run forewarn edge ")[2].split()
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "trusted from now on" in done.output
    return str(told.value)


@pytest.mark.parametrize("policy", ["Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"])
@pytest.mark.parametrize("mode", ["Sign", "SignAndEncrypt"])
async def test_every_policy_and_mode_connects_once_the_server_is_trusted(
    own_opcua: OpcuaRig, tmp_path: Path, policy: str, mode: str
) -> None:
    """Refused with fingerprint and command, trusted by that command, then values flow; our key is made."""
    await start_with(own_opcua, tmp_path, f"{policy.replace('_', '')}_{mode}")
    security = {"policy": policy, "mode": mode, "pki": str(tmp_path / "pki")}
    driver = build(own_opcua, {"a": "a"}, security=security)
    said = await trust(tmp_path, driver)
    assert "its certificate is not trusted yet (" in said
    assert "SHA-256 " in said
    await driver.connect()
    assert [value for value, _ in (await read_for(driver, "a", 1)).values()] == [1.5]
    await driver.close()
    assert (tmp_path / "pki" / "own" / "forewarn.der").is_file()


async def test_a_server_that_offers_other_security_says_which(own_opcua: OpcuaRig, tmp_path: Path) -> None:
    """The error names what the server would take."""
    await start_with(own_opcua, tmp_path, "Basic256Sha256_Sign", "Aes256Sha256RsaPss_SignAndEncrypt")
    driver = build(own_opcua, {"a": "a"}, security={"pki": str(tmp_path / "pki")})
    with pytest.raises(NotConnected) as told:
        await driver.connect()
    offered = "Aes256_Sha256_RsaPss SignAndEncrypt, Basic256Sha256 Sign"
    assert f"it does not offer Basic256Sha256 SignAndEncrypt, but {offered}: choose" in str(told.value)


async def test_another_server_in_place_of_the_trusted_one_is_refused(
    own_opcua: OpcuaRig, tmp_path: Path
) -> None:
    """A new certificate under the old address is not trusted because the old one was."""
    await start_with(own_opcua, tmp_path, "Basic256Sha256_SignAndEncrypt")
    driver = build(own_opcua, {"a": "a"}, security={"pki": str(tmp_path / "pki")})
    await trust(tmp_path, driver)
    await driver.connect()
    await driver.close()
    await own_opcua.stop()
    (tmp_path / "server.der").unlink()
    (tmp_path / "server.pem").unlink()
    await start_with(own_opcua, tmp_path, "Basic256Sha256_SignAndEncrypt")
    with pytest.raises(NotConnected, match="not trusted yet"):
        await driver.connect()


@pytest.mark.parametrize(
    ("host", "age", "expected"),
    [
        (HOST, timedelta(days=3652), "expired on"),
        (HOST, timedelta(days=-3), "is not valid before"),
        ("elsewhere", timedelta(), "its certificate is for elsewhere, not for 127.0.0.1"),
    ],
)
async def test_a_trusted_certificate_that_is_not_good_is_refused_by_name(
    own_opcua: OpcuaRig, tmp_path: Path, host: str, age: timedelta, expected: str
) -> None:
    """Expired, not yet valid (mostly the clock), of another host: although it is in the trusted folder."""
    own_opcua.identity = Identity(tmp_path, "server")
    certificate, key = make_certificate(host, datetime.now(UTC) - age)
    own_opcua.identity.certificate.write_bytes(certificate)
    own_opcua.identity.private_key.write_bytes(key)
    await own_opcua.start({"a": 1.5})
    trusted = tmp_path / "pki" / "trusted"
    trusted.mkdir(parents=True)
    (trusted / "server.der").write_bytes(certificate)
    driver = build(own_opcua, {"a": "a"}, security={"pki": str(tmp_path / "pki")})
    with pytest.raises(NotConnected, match=expected):
        await driver.connect()
    if host == "elsewhere":
        security = {"pki": str(tmp_path / "pki"), "server_name": "elsewhere"}
        named = build(own_opcua, {"a": "a"}, security=security)
        await named.connect()
        await named.close()


async def test_a_user_logs_in_with_a_certificate(own_opcua: OpcuaRig, tmp_path: Path) -> None:
    """The certificate that the server knows gets in; without one, or with another, nobody does."""
    user = Identity(tmp_path, "user")
    await user.make()
    manager = CertificateUserManager()
    await manager.add_user(str(user.certificate), "forewarn")
    own_opcua.user_manager = manager
    await start_with(own_opcua, tmp_path, "Basic256Sha256_SignAndEncrypt")
    security = {"pki": str(tmp_path / "pki")}
    files: dict[str, Any] = {
        "user_certificate": str(user.certificate),
        "user_private_key": str(user.private_key),
    }
    driver = build(own_opcua, {"a": "a"}, security=security, **files)
    await trust(tmp_path, driver)
    await driver.connect()
    assert [value for value, _ in (await read_for(driver, "a", 1)).values()] == [1.5]
    await driver.close()
    nobody = build(own_opcua, {"a": "a"}, security=security)
    with pytest.raises(NotConnected, match="it refuses the user"):
        await nobody.connect()


async def test_an_end_that_is_near_is_said_once(own_opcua: OpcuaRig, tmp_path: Path) -> None:
    """Whose certificate, within how many days; not again at the next connect."""
    own_opcua.identity = Identity(tmp_path, "server")
    certificate, key = make_certificate(HOST, datetime.now(UTC) - timedelta(days=3645))
    own_opcua.identity.certificate.write_bytes(certificate)
    own_opcua.identity.private_key.write_bytes(key)
    await own_opcua.start({"a": 1.5})
    driver = build(own_opcua, {"a": "a"}, security={"pki": str(tmp_path / "pki")})
    await trust(tmp_path, driver)
    with capture_logs() as logs:
        await driver.connect()
        await driver.connect()
    await driver.close()
    (line,) = [line for line in logs if line["event"] == "certificate_ends"]
    assert line["within_days"] == 7
    assert line["reason"].startswith("the server's certificate ends on ")


async def test_no_security_is_said_at_the_start_and_every_day(
    own_opcua: OpcuaRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For as long as it lasts: `allow_insecure` is no leave to forget it."""
    await own_opcua.start({"a": 1.5})
    today = datetime(2026, 11, 23, 12, tzinfo=UTC)
    monkeypatch.setattr("edge.drivers.opcua.driver.is_loopback", lambda _url: False)
    driver, told = build(own_opcua, {"a": "a"}), []
    for day in (0, 0, 1, 2):
        now = today + timedelta(days=day)
        monkeypatch.setattr("edge.drivers.opcua.driver.read_clock", lambda now=now: now)
        with capture_logs() as logs:
            await driver.connect()
        told.append([line["event"] for line in logs])
    await driver.close()
    assert told == [["no_security"], [], ["no_security"], ["no_security"]]
