"""Getting into npm's node-opcua, which has its own idea of certificates: each policy, and what is refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.drivers import NotConnected
from edge.drivers.opcua.pki import Pki
from tests.integration.opcua_peer_rig import NodeOpcua, build
from tests.integration.opcua_rig import read_for


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeOpcua]:
    """A server that offers the three policies, signed and encrypted, and none without."""
    running = NodeOpcua(tmp_path_factory.mktemp("secure"), count=1, secure=True)
    running.start()
    yield running
    running.stop()


@pytest.mark.parametrize("mode", ["Sign", "SignAndEncrypt"])
@pytest.mark.parametrize("policy", ["Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"])
async def test_values_flow_under_each_policy(
    server: NodeOpcua, tmp_path: Path, policy: str, mode: str
) -> None:
    """Refused until it is trusted, with the command that trusts it; then followed and read."""
    security = {"policy": policy, "mode": mode, "pki": str(tmp_path / "pki")}
    followed = build(server, ["t0"], security=security)
    with pytest.raises(NotConnected, match=r"not trusted yet .*forewarn edge trust") as refusal:
        await followed.connect()
    assert server.url in str(refusal.value)
    pki = Pki(tmp_path / "pki")
    ((name, _),) = pki.list_rejected()
    pki.trust(name)
    polled = build(server, ["t0"], security=security, mode="poll")
    for driver in (followed, polled):
        await driver.connect()
        rows = await read_for(driver, "t0", 3)
        assert all(code == 0 for _, code in rows.values())
        await driver.close()


async def test_none_is_not_offered(server: NodeOpcua) -> None:
    """Without security the server has no endpoint for us, and the message says what to add."""
    with pytest.raises(
        NotConnected, match="BadSecurityModeRejected: it allows no such connection: give it security"
    ):
        await build(server, ["t0"]).connect()


async def test_another_host_is_refused_by_name(server: NodeOpcua, tmp_path: Path) -> None:
    """The certificate's names and the wanted one stand in the message."""
    security = {"pki": str(tmp_path / "pki"), "server_name": "elsewhere.example"}
    driver = build(server, ["t0"], security=security)
    with pytest.raises(NotConnected, match="not trusted yet"):
        await driver.connect()
    pki = Pki(tmp_path / "pki")
    ((name, _),) = pki.list_rejected()
    pki.trust(name)
    with pytest.raises(NotConnected, match=r"its certificate is for .*, not for elsewhere\.example"):
        await driver.connect()
