"""Plain Modbus TCP on a socket of our own: rounds of requests, turns, retries, losses; nothing overlaps."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from edge.drivers import NotConnected
from edge.drivers.modbus.answers import Answer, UnitSilent
from edge.drivers.modbus.line import find_line
from edge.drivers.modbus.line_settings import Line
from edge.drivers.modbus.registers import Block
from edge.drivers.modbus.tcp import TcpConnection
from tests.integration.modbus_rig import HOST, UnitsRig
from tests.servers import find_free_port

BLOCKS = [Block("holding", address, 2, ()) for address in range(20)]
TIMEOUT_S = 0.3


@pytest.fixture
async def rig() -> AsyncIterator[UnitsRig]:
    """Units 1 and 2 behind one port; registers from 100 on are illegal."""
    rig = UnitsRig(1, 2)
    await rig.start_tcp()
    yield rig
    await rig.stop()


@pytest.fixture
async def connection(rig: UnitsRig) -> AsyncIterator[TcpConnection]:
    """An open connection to them."""
    connection = TcpConnection(Line("tcp", HOST, rig.port, None, None))
    await connection.open(2.0)
    yield connection
    connection.close()


async def ask(
    connection: TcpConnection, blocks: list[Block], *, unit_id: int = 1, retries: int = 1
) -> list[Answer]:
    """Ask for the blocks in one go."""
    return await connection.ask(unit_id, blocks, timeout_s=TIMEOUT_S, retries=retries, goes_on=lambda: True)


async def test_a_round_is_answered_in_order_one_request_at_a_time(
    rig: UnitsRig, connection: TcpConnection
) -> None:
    """Each block has its own registers, its own time and its own duration."""
    answers = await ask(connection, BLOCKS)
    assert [answer.octets for answer in answers] == [
        (1_000 + block.address).to_bytes(2, "big") + (1_001 + block.address).to_bytes(2, "big")
        for block in BLOCKS
    ]
    times = [answer.observed_ns for answer in answers]
    assert times == sorted(set(times))
    assert all(0.004 < answer.took_s < TIMEOUT_S for answer in answers)
    assert not any(answer.retried for answer in answers)
    assert rig.overlaps == 0


async def test_a_round_ends_with_a_refusal(rig: UnitsRig, connection: TcpConnection) -> None:
    """What comes behind it is the caller's to ask for again."""
    answers = await ask(connection, [BLOCKS[0], Block("holding", 100, 2, ()), BLOCKS[1]])
    assert [(answer.octets is None, answer.code) for answer in answers] == [(False, 0), (True, 2)]
    assert len(rig.requests) == 2


async def test_a_late_answer_counts_as_retried_and_disturbs_nothing(
    rig: UnitsRig, connection: TcpConnection
) -> None:
    """The second request of a pair is answered by whichever comes first; the other answer is passed over."""
    rig.delays_s = [0.0, 1.5 * TIMEOUT_S]
    answers = await ask(connection, BLOCKS[:4])
    assert [answer.retried for answer in answers] == [False, True, False, False]
    assert [int.from_bytes((answer.octets or b"")[:2], "big") for answer in answers] == [
        1_000,
        1_001,
        1_002,
        1_003,
    ]


async def test_silence_in_the_middle_of_a_round_is_said_with_how_long_it_was(
    rig: UnitsRig, connection: TcpConnection
) -> None:
    """After as many tries as were allowed; the connection stays, and serves the next unit."""
    rig.silent.add(2)
    with pytest.raises(UnitSilent, match=r"unit 2 .* has not answered for 0.6 s"):
        await ask(connection, BLOCKS, unit_id=2)
    assert len(rig.requests) == 2
    assert len(await ask(connection, BLOCKS[:3])) == 3


async def test_a_connection_that_is_closed_in_a_round_is_said_at_once(
    rig: UnitsRig, connection: TcpConnection
) -> None:
    """Nobody waits a timeout out; the next question says that it is closed."""
    asking = asyncio.create_task(ask(connection, BLOCKS))
    await asyncio.sleep(0.02)
    await rig.stop()
    with pytest.raises(NotConnected, match=r"closed the connection$"):
        await asking
    assert not connection.is_open
    with pytest.raises(NotConnected, match="is closed"):
        await ask(connection, BLOCKS)


async def test_whoever_is_cancelled_leaves_the_connection_usable(connection: TcpConnection) -> None:
    """The answer that is still to come belongs to nobody."""
    asking = asyncio.create_task(ask(connection, BLOCKS))
    await asyncio.sleep(0.012)
    asking.cancel()
    await asyncio.wait([asking])
    answers = await ask(connection, BLOCKS[10:12])
    assert [int.from_bytes((answer.octets or b"")[:2], "big") for answer in answers] == [1_010, 1_011]


async def test_others_on_the_line_have_their_turn_within_a_round(rig: UnitsRig) -> None:
    """A unit with many blocks lets a neighbour in after the block under way, and comes back for the rest."""

    class Rider:
        unit_id = 1

    line, rider = find_line(Line("tcp", HOST, rig.port, None, None)), Rider()
    line.join(rider)
    await line.open(rider, 2.0)
    asking = asyncio.create_task(line.ask_all(1, BLOCKS, TIMEOUT_S))
    await asyncio.sleep(0.012)
    neighbour = await line.ask(2, BLOCKS[0], TIMEOUT_S)
    answers = await asking
    assert neighbour.octets == (2_000).to_bytes(2, "big") + (2_001).to_bytes(2, "big")
    assert 0 < len(answers) < len(BLOCKS)
    assert [unit for unit, *_ in rig.requests] == [1] * len(answers) + [2]
    line.release(rider)


async def test_a_host_that_is_not_there_is_explained() -> None:
    """By refusal, and by a name that is none."""
    with pytest.raises(NotConnected, match="refuses the connection"):
        await TcpConnection(Line("tcp", HOST, find_free_port(), None, None)).open(2.0)
    with pytest.raises(NotConnected, match="cannot be reached"):
        await TcpConnection(Line("tcp", "no-such-machine.invalid", 502, None, None)).open(2.0)


async def test_an_answer_that_comes_twice_and_in_pieces_disturbs_nothing() -> None:
    """Half of a repeated answer comes with the first one, its other half just before the next answer."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = b""
        for value in (7, 8):
            asked = await reader.readexactly(12)
            told = asked[:4] + bytes((0, 5, asked[6], 3, 2, 0, value))
            writer.write(left + told + told[:6])
            left = told[6:]
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, HOST, 0)
    connection = TcpConnection(Line("tcp", HOST, server.sockets[0].getsockname()[1], None, None))
    await connection.open(2.0)
    answers = await ask(connection, [Block("holding", 0, 1, ()), Block("holding", 1, 1, ())])
    connection.close()
    server.close()
    assert [(one.octets, one.retried) for one in answers] == [(b"\0\7", False), (b"\0\10", False)]
