"""Sparkplug as the user of a gateway meets it: mistakes in settings, the health page, a reload."""

import asyncio
import json
import urllib.request
from pathlib import Path

import pytest

from edge.settings import EdgeSettings, HealthSettings
from edge.sparkplug.wiring import list_tags
from models.settings import SettingsError, parse_settings
from tests.integration.edge_rig import until
from tests.integration.sparkplug_rig import (
    FlakyDriver,
    SparkplugHost,
    make_sparkplug_settings,
    running_gateway,
)
from tests.servers import Mosquitto, find_free_port

MACHINE = """
  - path: {path}
    kind: modbus
    host: 192.0.2.7
    tags: [{{name: Temp, table: holding, address: 0, type: uint16}}{more}]
"""


def write(section: str, *machines: str, more: str = "") -> str:
    """Return a settings file with this Sparkplug section."""
    found = "".join(MACHINE.format(path=path, more=more) for path in machines or ("a/b/c/pump-1",))
    return f"gateway: pi-01\npublish: sparkplug\nsparkplug:\n{section}\nmachines:{found}"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (write("  group: a/b"), 4, "holds /, which Sparkplug reserves"),
        (write("  group: STATE"), 4, "where hosts say whether they are online"),
        (write("  custody: broker"), 4, "needs primary_host"),
        (write("  primary_host: sca#da"), 4, "holds #"),
        (write("  edge_nod: x"), 4, "Did you mean edge_node?"),
        (write("  settle_s: 1", "a/b/c/m", "d/b/c/m"), 5, "set sparkplug.group"),
        (
            write("  settle_s: 1", more=", {name: temp, table: coil, address: 1}"),
            5,
            "upper and lower case only",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, line: int, reason: str) -> None:
    """Before anything is sent."""
    with pytest.raises(SettingsError) as caught:
        parse_settings(text, Path("edge.yaml"), EdgeSettings)
    assert reason in str(caught.value)
    assert f"edge.yaml:{line}:" in str(caught.value)


async def test_the_health_page_says_what_is_not_promised(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """/healthz and /metrics know of Sparkplug: custody, host, births."""
    port = find_free_port()
    chosen = make_sparkplug_settings(tmp_path, mosquitto.settings, primary_host="scada", custody="broker")
    settings = chosen.model_copy(update={"health": HealthSettings(port=port)})
    host = SparkplugHost(mosquitto.settings)
    host.start()

    def get(page: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=10) as answer:
            return str(answer.read().decode())

    async with running_gateway(settings, FlakyDriver()) as agent:
        assert agent.sparkplug is not None
        await until(agent.sparkplug.connected.is_set, "it is connected")
        waiting = json.loads(await asyncio.to_thread(get, "healthz"))
        host.say_online(True)
        await until(lambda: "DDATA" in host.kinds, "values came")
        fine = json.loads(await asyncio.to_thread(get, "healthz"))
        metrics = await asyncio.to_thread(get, "metrics")
    host.stop()
    assert any(
        "primary host 'scada' has not said that it is online" in problem for problem in waiting["problems"]
    )
    assert "Not promised" in waiting["sparkplug"]["promise"]
    assert fine["sparkplug"]["primary_host"] == {"id": "scada", "state": "online"}
    assert not any("scada" in problem for problem in fine["problems"])
    assert "forewarn_sparkplug_online 1" in metrics
    assert "forewarn_sparkplug_births_total 1" in metrics


async def test_a_reload_is_a_rebirth_with_the_new_tags(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """tck-id-topics-dbirth-metric-reqs: the new DBIRTH names the tags of the new settings."""
    host = SparkplugHost(mosquitto.settings)
    host.start()
    settings = make_sparkplug_settings(tmp_path, mosquitto.settings)
    async with running_gateway(settings, FlakyDriver()) as agent:
        await until(lambda: "DDATA" in host.kinds, "values came")
        assert agent.sparkplug is not None
        [machine] = settings.machines
        tags = (*machine.tags, machine.tags[0].model_copy(update={"name": "speed", "unit": "rpm"}))
        changed = machine.model_copy(update={"tags": tags})
        agent.sparkplug.set_machines(list_tags([changed]))
        await until(lambda: len(host.of("NBIRTH")) == 2 and len(host.of("DBIRTH")) == 2, "born again")
    host.stop()
    named = {metric.name: metric for metric in host.of("DBIRTH")[1].payload.metrics}
    assert set(named) == {"count", "speed"}
    assert named["speed"].is_null
    assert named["speed"].properties["engUnit"].value == "rpm"
