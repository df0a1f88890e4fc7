"""OPC UA servers that take less at a time than they are asked for."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.server.internal_session import InternalSession

from edge.drivers.opcua import inside
from tests.integration.drivers_rig import OpcuaRig
from tests.integration.opcua_rig import build
from tests.servers import find_free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[OpcuaRig]:
    """One server for the tests of this file."""
    rig = OpcuaRig(find_free_port())
    await rig.start()
    yield rig
    await rig.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def rig(shared: OpcuaRig) -> AsyncIterator[OpcuaRig]:
    """The shared server, with nothing of a former test on it."""
    yield shared
    await shared.clear()


@pytest.mark.parametrize("mode", ["poll", "subscription"])
async def test_a_server_that_takes_fewer_nodes_is_asked_for_fewer(
    rig: OpcuaRig, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server refuses more than 3 nodes in a call without having said so: smaller calls, remembered."""
    asked: list[int] = []
    read = InternalSession.read

    async def refuse_many(session: InternalSession, wish: ua.ReadParameters) -> Any:
        nodes = [one for one in wish.NodesToRead or [] if one.NodeId.NamespaceIndex]
        asked.extend([len(nodes)] if nodes else [])
        if len(nodes) > 3:
            raise ServiceError(ua.StatusCodes.BadTooManyOperations)
        return await read(session, wish)

    monkeypatch.setattr(InternalSession, "read", refuse_many)
    await rig.add({f"t{at}": float(at) for at in range(10)})
    driver = build(rig, {f"t{at}": f"t{at}" for at in range(10)}, mode=mode)
    await driver.connect()
    assert asked == [10, 5, 2, 2, 2, 2, 2]
    told: dict[str, Any] = {}
    async with asyncio.timeout(15):
        while len(told) < 10:
            for frame in await driver.read():
                told |= {tag: column[-1] for tag, column in frame.values.items()}
    assert told == {f"t{at}": float(at) for at in range(10)}
    asked.clear()
    await driver.connect()
    assert asked == [2, 2, 2, 2, 2]
    await driver.close()


async def test_both_decoders_read_the_same(rig: OpcuaRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers alone, which are read the short way, and with a text and an array among them, which are not."""
    values = {"whole": 7, "half": 0.5, "on": True, "single": ua.Variant(12.3, ua.VariantType.Float)}
    await rig.add({**values, "text": "twelve", "list": [1.0, 2.0]})
    for names in (list(values), [*values, "text", "list"], [*values, "missing"]):
        told = []
        for is_short in (True, False):
            monkeypatch.setattr(inside, "_IS_SHORT", is_short)
            driver = build(rig, {name: name for name in names}, mode="poll")
            await driver.connect()
            frames = await driver.read()
            told.append(
                {tag: (frame.values[tag], frame.quality.get(tag)) for frame in frames for tag in frame.values}
            )
            await driver.close()
        assert told[0] == told[1]
        assert len(told[0]) == len(names)


async def test_the_decoder_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a diagnosis by an environment variable; by itself where asyncua's inside is another."""
    assert inside.choose_decoder()
    monkeypatch.setattr("asyncua.__version__", "2.2.0")
    assert not inside.choose_decoder()
    monkeypatch.undo()
    monkeypatch.setenv(inside.DECODER_VARIABLE, "library")
    assert not inside.choose_decoder()
