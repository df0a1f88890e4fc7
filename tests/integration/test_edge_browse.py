"""`forewarn edge browse` and `import` against a real server, as a person uses them."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from asyncua import ua
from click.testing import Result
from typer.testing import CliRunner

from edge.settings import EdgeSettings
from forewarn.commands.edge import app
from models.settings import load_settings
from tests.integration.drivers_rig import NAMESPACE, OpcuaRig
from tests.servers import find_free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

MACHINERY = "http://opcfoundation.org/UA/Machinery/"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig() -> AsyncIterator[OpcuaRig]:
    """A server with a companion specification's Machines folder, a machine in it, and a loose variable."""
    rig = OpcuaRig(find_free_port())
    await rig.start({"loose": 1.0})
    assert rig.server is not None
    index, machinery = (
        await rig.server.get_namespace_index(NAMESPACE),
        await rig.server.register_namespace(MACHINERY),
    )
    folder = await rig.server.nodes.objects.add_folder(ua.NodeId(1001, machinery), f"{machinery}:Machines")
    machine = await folder.add_object(ua.NodeId("M1", index), f"{index}:Pump M1")
    part = await machine.add_object(ua.NodeId("M1.motor", index), f"{index}:Motor")
    node = await part.add_variable(ua.NodeId("M1.motor.current", index), f"{index}:Current", 12.5)
    unit = ua.EUInformation(DisplayName=ua.LocalizedText("A"))
    await node.add_property(ua.NodeId("M1.unit", index), ua.QualifiedName("EngineeringUnits", 0), unit)
    span = ua.Range(Low=0.0, High=40.0)
    await node.add_property(ua.NodeId("M1.range", index), ua.QualifiedName("EURange", 0), span)
    await part.add_variable(ua.NodeId("M1.motor.maker", index), f"{index}:Maker", "Acme")
    for at in range(30):
        await part.add_variable(ua.NodeId(f"M1.motor.p{at}", index), f"{index}:Phase {at}", at)
    yield rig
    await rig.stop()


async def run(*arguments: str) -> Result:
    """Run `forewarn edge ARGUMENTS` beside the server."""
    told = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    assert told.exception is None or isinstance(told.exception, SystemExit), told.exception
    return told


async def test_browse_shows_values_with_unit_range_and_machine(rig: OpcuaRig) -> None:
    """The one variable that is asked for, with all that the server says of it."""
    told = await run("browse", rig.url, "--filter", "current", "--json")
    assert json.loads(told.stdout) == {
        "use": True,
        "machine": "site/area/line/pump-m1",
        "tag": "Motor.Current",
        "node_id": f"nsu={NAMESPACE};s=M1.motor.current",
        "unit": "A",
        "url": rig.url,
        "security": "none",
        "type": "Double",
        "value": "12.5",
        "low": 0.0,
        "high": 40.0,
        "status": 0,
    }
    assert "machines by the Machines folder" in told.stderr
    assert "without security" in told.stderr
    table = await run("browse", rig.url, "--filter", "current")
    assert table.stdout.splitlines()[1].startswith("pump-m1  Motor.Current  12.5   A     0 to 40")


async def test_browse_says_when_there_is_more(rig: OpcuaRig) -> None:
    """A bound on depth leaves out what is deeper, and says so."""
    told = await run("browse", rig.url, "--depth", "2", "--json")
    assert [json.loads(line)["tag"] for line in told.stdout.splitlines()] == ["loose"]
    assert "there is more" in told.stderr


async def test_a_list_goes_into_the_settings(rig: OpcuaRig, tmp_path: Path) -> None:
    """browse --csv, import (shows only), import --write; numbers are in, text is not."""
    config, tags = tmp_path / "edge.yaml", tmp_path / "tags.csv"
    entries = tmp_path / "machines.yaml"
    await run("browse", rig.url, "--filter", "loose", "--yaml", str(entries), "--under", "s/a/l")
    config.write_text("gateway: pi-01\nmachines:\n" + entries.read_text())
    before = config.read_text()
    await run("browse", rig.url, "--filter", "M1", "--csv", str(tags), "--under", "s/a/l")
    shown = await run("import", str(tags), "--config", str(config))
    assert "+  - path: s/a/l/pump-m1\n" in shown.stdout
    assert "nothing is changed yet: add --write" in shown.stdout
    assert config.read_text() == before
    await run("import", str(tags), "--config", str(config), "--write")
    first, second = load_settings(config, EdgeSettings).machines
    assert [tag.name for tag in first.tags] == ["loose"]
    assert len(second.tags) == 31
    assert (second.tags[0].name, second.tags[0].unit) == ("Motor.Current", "A")
    again = await run("import", str(tags), "--config", str(config), "--write")
    assert again.stdout == f"{config} has all of them already\n"
