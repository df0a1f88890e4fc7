"""`forewarn edge probe` against a server: what it asks, what it finds, how it says that it found nothing."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from click.testing import Result
from typer.testing import CliRunner

from forewarn.cli import app
from tests.integration.modbus_rig import HOST, UnitsRig
from tests.servers import find_free_port


@pytest.fixture
async def rig() -> AsyncIterator[UnitsRig]:
    """Register n of unit 2 holds 2000 + n; there are no registers from 100 on."""
    rig = UnitsRig(2)
    await rig.start_tcp()
    yield rig
    await rig.stop()


async def probe(port: int, *options: str | float) -> Result:
    """Run the command beside the server."""
    words = ["edge", "probe", HOST, "--port", str(port), "--timeout", "0.5", *map(str, options)]
    return await asyncio.to_thread(CliRunner().invoke, app, words)


async def test_the_register_of_the_manual_is_found(rig: UnitsRig) -> None:
    """40008 is holding register 7; what the unit refuses costs nothing, and nothing is written."""
    told = await probe(
        rig.port, "--unit", "2", "--around", "40008", "--expect", "200.7", "--tolerance", "0.05"
    )
    assert told.exit_code == 0
    first, line, *_ = told.stdout.splitlines()
    assert first.startswith("# within 0.05 of 200.7")
    assert line.split("  #")[0].rstrip() == (
        "- {name: value_1, table: holding, address: 7, type: int16, scale: 0.1}"
    )
    assert {function for _, function, *_ in rig.requests} == {3, 4}
    assert (rig.written, rig.connections) == ([], 1)


async def test_nothing_near_is_said_and_exits_1(rig: UnitsRig) -> None:
    """With what may be the reason."""
    told = await probe(rig.port, "--unit", "2", "--around", "40008", "--expect", "77777")
    assert told.exit_code == 1
    assert "nothing there comes within 777.77 of 77777" in told.stdout


async def test_a_unit_that_refuses_everything_is_said(rig: UnitsRig) -> None:
    """It answers: so the number is wrong, not the connection."""
    told = await probe(rig.port, "--unit", "2", "--around", "5000", "--expect", "1.5")
    assert told.exit_code != 0
    assert "unit 2 answers, and refuses every register" in str(told.exception)


async def test_a_unit_that_is_silent_or_away_is_said(rig: UnitsRig) -> None:
    """The driver's own words: which unit, where, and what to check."""
    told = await probe(rig.port, "--unit", "9", "--around", "40001", "--expect", "1.5")
    assert "unit 9 at" in str(told.exception)
    assert "is the unit id right" in str(told.exception)
    told = await probe(find_free_port(), "--around", "40001", "--expect", "1.5")
    assert "refuses the connection" in str(told.exception)
