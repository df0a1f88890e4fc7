"""Getting in over OPC UA: certificates, trust, and what is refused."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from edge.drivers import NotConnected
from tests.integration.drivers_rig import Identity, OpcuaRig
from tests.integration.opcua_rig import build, read_for
from tests.servers import find_free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def own_rig() -> AsyncIterator[OpcuaRig]:
    """A server that a test starts and stops itself."""
    rig = OpcuaRig(find_free_port())
    yield rig
    await rig.stop()


async def test_an_encrypted_connection_trusts_one_certificate_only(own_rig: OpcuaRig, tmp_path: Path) -> None:
    """With the server's own certificate pinned values flow; a server that shows another is refused."""
    ours, server, other = (Identity(tmp_path, name) for name in ("ours", "server", "other"))
    for identity in (ours, server, other):
        await identity.make()
    own_rig.identity = server
    await own_rig.start({"a": 1.5})
    files = {"certificate": str(ours.certificate), "private_key": str(ours.private_key)}
    driver = build(own_rig, {"a": "a"}, security={**files, "server_certificate": str(server.certificate)})
    await driver.connect()
    assert [value for value, _ in (await read_for(driver, "a", 1)).values()] == [1.5]
    await driver.close()
    wary = build(
        own_rig, {"a": "a"}, security={**files, "server_certificate": str(other.certificate)}, timeout_s=1.0
    )
    with pytest.raises(NotConnected, match="OPC UA server"):
        await wary.connect()
    careless = build(own_rig, {"a": "a"})
    with pytest.raises(NotConnected, match="offers no endpoint with this security"):
        await careless.connect()


async def test_a_missing_certificate_is_named(own_rig: OpcuaRig, tmp_path: Path) -> None:
    """Certificate files that are not there are named, with the key of the settings."""
    missing = {
        name: str(tmp_path / f"{name}.der") for name in ("certificate", "private_key", "server_certificate")
    }
    driver = build(own_rig, {"a": "a"}, security=missing)
    with pytest.raises(NotConnected, match=r"cannot read .*certificate\.der: check the paths below security"):
        await driver.connect()


async def test_files_that_are_no_certificates_are_named_as_such(own_rig: OpcuaRig, tmp_path: Path) -> None:
    """A text file in place of a certificate is a matter of the settings, not of the server."""
    names = ("certificate", "private_key", "server_certificate")
    for name in names:
        (tmp_path / name).write_text("not a certificate")
    driver = build(own_rig, {"a": "a"}, security={name: str(tmp_path / name) for name in names})
    with pytest.raises(NotConnected, match="the files below security are no certificates and key"):
        await driver.connect()
