"""Modbus over TLS: spoken with whom the plant's authority vouches for, refused with anybody else."""

import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from edge.drivers import NotConnected
from edge.drivers.modbus.driver import ModbusDriver
from tests.integration import modbus_drivers
from tests.integration.modbus_drivers import tag
from tests.integration.modbus_rig import UnitsRig, make_certificate


def build(rig: UnitsRig, **tls: Any) -> ModbusDriver:
    """Return the driver of unit 1, with one tag."""
    return modbus_drivers.build(rig.port, [tag("a", 1)], timeout_s=2.0, transport="tls", tls=tls)


async def serve_tls(folder: Path, *names: str, asks: bool = False) -> UnitsRig:
    """Start unit 1 behind TLS, with a certificate for these names that its authority (`ca.pem`) signed.

    With `asks` it speaks only with whom the same authority vouches for.
    """
    make_certificate(folder, *names)
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trust.load_cert_chain(folder / "server.pem", folder / "server.key")
    if asks:
        trust.verify_mode = ssl.CERT_REQUIRED
        trust.load_verify_locations(folder / "ca.pem")
    rig = UnitsRig(1)
    await rig.start_tcp(trust=trust)
    return rig


async def test_tls_is_spoken_with_whom_the_authority_vouches_for(tmp_path: Path) -> None:
    """The certificate may name the machine otherwise than its address, where server_name says so."""
    rig = await serve_tls(tmp_path, "plc-7.plant.example")
    driver = build(rig, ca_file=str(tmp_path / "ca.pem"), server_name="plc-7.plant.example")
    await driver.connect()
    (frame,) = await driver.read()
    assert frame.values == {"a": (1_001.0,)}
    await driver.close()
    await rig.stop()


async def test_tls_with_anybody_else_is_refused(tmp_path: Path) -> None:
    """Another name, another authority, no TLS at all: each is refused with its reason."""
    rig = await serve_tls(tmp_path, "plc-7.plant.example")
    plain = UnitsRig(1)
    await plain.start_tcp()
    (tmp_path / "other").mkdir()
    make_certificate(tmp_path / "other", "plc-7.plant.example")
    ours, other = str(tmp_path / "ca.pem"), str(tmp_path / "other" / "ca.pem")
    for where, ca_file, name, reason in (
        (rig, ours, None, r"does not prove that it is 127\.0\.0\.1 .*server_name"),
        (rig, other, "plc-7.plant.example", r"does not prove that it is plc-7.*ca_file"),
        (plain, ours, None, r"does not agree on TLS|closed|does not answer"),
        (rig, str(tmp_path / "gone.pem"), None, r"gone\.pem: No such file"),
    ):
        driver = build(where, ca_file=ca_file, server_name=name)
        with pytest.raises(NotConnected, match=reason):
            await driver.connect()
    assert not rig.requests
    await rig.stop()
    await plain.stop()


async def test_a_machine_that_asks_for_a_certificate_gets_ours(tmp_path: Path) -> None:
    """The machine's authority vouches for the gateway too."""
    rig = await serve_tls(tmp_path, "plc-7", asks=True)
    own = {"certificate_file": str(tmp_path / "client.pem"), "key_file": str(tmp_path / "client.key")}
    driver = build(rig, ca_file=str(tmp_path / "ca.pem"), server_name="plc-7", **own)
    await driver.connect()
    (frame,) = await driver.read()
    assert frame.values == {"a": (1_001.0,)}
    await driver.close()
    await rig.stop()


async def test_a_machine_that_gets_no_certificate_is_said(tmp_path: Path) -> None:
    """None, or one that another authority signed: it closes the connection, and the message says why."""
    rig = await serve_tls(tmp_path, "plc-7", asks=True)
    (tmp_path / "other").mkdir()
    make_certificate(tmp_path / "other", "plc-7")
    foreign = {
        "certificate_file": str(tmp_path / "other" / "client.pem"),
        "key_file": str(tmp_path / "other" / "client.key"),
    }
    for own, reason in (({}, "does it ask for a certificate of ours"), (foreign, "does it know who signed")):
        driver = build(rig, ca_file=str(tmp_path / "ca.pem"), server_name="plc-7", **own)
        await driver.connect()  # in TLS 1.3 the machine looks at our certificate after this
        with pytest.raises(NotConnected, match=f"{rig.port} closed the connection before .*{reason}"):
            await driver.read()
        await driver.close()
    assert not rig.requests
    await rig.stop()


async def test_a_key_that_does_not_fit_is_said(tmp_path: Path) -> None:
    """With the files' names; nobody is asked for a password at a keyboard that nobody sits at."""
    rig = await serve_tls(tmp_path, "plc-7", asks=True)
    locked = serialization.load_pem_private_key((tmp_path / "client.key").read_bytes(), None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (tmp_path / "locked.key").write_bytes(locked)
    for key, reason in (("server.key", "does not fit"), ("locked.key", "has a password")):
        driver = build(
            rig,
            ca_file=str(tmp_path / "ca.pem"),
            server_name="plc-7",
            certificate_file=str(tmp_path / "client.pem"),
            key_file=str(tmp_path / key),
        )
        with pytest.raises(NotConnected, match=f"{key}.*{reason}"):
            await driver.connect()
    await rig.stop()
