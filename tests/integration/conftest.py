"""Servers that several files of tests use: started once a file, cleared after each test."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.integration.drivers_rig import OpcuaRig
from tests.integration.mail_rig import MailServer
from tests.servers import find_free_port


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_opcua() -> AsyncIterator[OpcuaRig]:
    """One OPC UA server for the tests of a file that only need variables: it takes seconds to start."""
    rig = OpcuaRig(find_free_port())
    await rig.start()
    yield rig
    await rig.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def opcua(shared_opcua: OpcuaRig) -> AsyncIterator[OpcuaRig]:
    """The file's OPC UA server, with nothing of a former test on it."""
    yield shared_opcua
    await shared_opcua.clear()


@pytest_asyncio.fixture(loop_scope="module")
async def own_opcua() -> AsyncIterator[OpcuaRig]:
    """An OPC UA server that a test starts itself, and may stop."""
    rig = OpcuaRig(find_free_port())
    yield rig
    await rig.stop()


@pytest.fixture
def mail_server(free_port: int) -> Iterator[MailServer]:
    """A mail server without TLS that takes everything until told otherwise."""
    running = MailServer(free_port)
    running.start()
    yield running
    running.stop()
