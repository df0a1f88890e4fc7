"""Nothing stays behind: connections made anew by the hundred leave no task, file or thread."""

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from paho.mqtt.client import Client

from edge.agent import Agent
from edge.drivers import NotConnected
from edge.drivers.shelf import MachineSettings
from edge.settings import EdgeSettings
from models.link import Link
from models.link.takeovers import Takeovers
from tests.bench.machine_servers import machine_server
from tests.bench.peers.gateways import modbus_machine
from tests.integration.drivers_rig import NAMESPACE, OpcuaRig
from tests.integration.edge_rig import make_settings, until
from tests.servers import Mosquitto, find_free_port, wait_until

TAGS = 5
RECONNECTS = 200
RELOADS = 50
LINKS = 50
WARM_UP = 5
PATIENCE_S = 10.0

Held = tuple[int, int, int]


def count_files() -> int:
    """Return how many files are open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def count_held() -> Held:
    """Return how many tasks, open files and threads there are, but for what is garbage already."""
    gc.collect()
    return len(asyncio.all_tasks()), count_files(), threading.active_count()


async def hold_no_more_than(before: Held) -> None:
    """Fail unless tasks, files and threads go back to what they were: closing may take its time."""
    end = asyncio.get_running_loop().time() + PATIENCE_S
    while any(now > then for now, then in zip(count_held(), before, strict=True)):
        assert asyncio.get_running_loop().time() < end, (
            f"tasks, files, threads: {before} before, {count_held()} after; "
            f"tasks now: {[task.get_coro() for task in asyncio.all_tasks()]}"
        )
        await asyncio.sleep(0.05)


async def repeat(cycle: Callable[[], Awaitable[None]], count: int) -> None:
    """Run the cycle some times to warm up, then `count` times; fail when these left anything behind."""
    for _ in range(WARM_UP):
        await cycle()
    await asyncio.sleep(0.2)
    before = count_held()
    for _ in range(count):
        await cycle()
    await hold_no_more_than(before)


def make_machine(kind: str, port: int) -> MachineSettings:
    """Return the settings of a machine that such a server stands for."""
    if kind == "modbus":
        machine = modbus_machine(port, TAGS)
    else:
        tags = [{"name": f"t{at}", "node_id": f"nsu={NAMESPACE};s=pump-7.t{at}"} for at in range(TAGS)]
        machine = {"kind": "opcua", "url": OpcuaRig(port).url, "allow_insecure": True, "tags": tags}
        machine["mode"] = "poll" if kind == "polled" else "subscription"
        machine["timeout_s"] = 10
    entry = {"path": f"s/a/l/{kind}", "interval_s": 0.05, **machine}
    settings = EdgeSettings.model_validate({"gateway": "pi-01", "machines": [entry]})
    return settings.machines[0]


@pytest.mark.parametrize("kind", ["modbus", "polled", "followed"])
async def test_a_driver_leaves_nothing_behind(kind: str, free_port: int) -> None:
    """200 times connect, read and close."""
    with machine_server("modbus" if kind == "modbus" else "opcua", free_port, TAGS):
        driver = make_machine(kind, free_port).build()

        async def cycle() -> None:
            await driver.connect()
            await driver.read()  # of values that repeat the last ones' timestamps nothing is left
            await driver.close()

        await repeat(cycle, RECONNECTS)


@pytest.mark.parametrize("kind", ["modbus", "polled"])
async def test_a_driver_that_finds_nobody_leaves_nothing_behind(kind: str, free_port: int) -> None:
    """200 times nobody is there."""
    driver = make_machine(kind, free_port).build()

    async def cycle() -> None:
        with pytest.raises(NotConnected):
            await driver.connect()
        await driver.close()

    await repeat(cycle, RECONNECTS)


async def test_links_leave_nothing_behind(mosquitto: Mosquitto) -> None:
    """50 links to the broker, begun and ended one after the other."""

    async def cycle() -> None:
        link = Link(mosquitto.settings, "leaks", subscriptions=["forewarn/#"])
        link.start()
        await until(link.is_connected, "the link stands")
        await asyncio.to_thread(link.stop)

    await repeat(cycle, LINKS)


def test_a_link_that_is_cut_leaves_nothing_behind(
    mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One link, cut 50 times, connects again each time; only its pauses are shortened."""
    lasting = Client.reconnect_delay_set
    monkeypatch.setattr(Client, "reconnect_delay_set", lambda client, *_pause: lasting(client, 0.01, 0.01))
    monkeypatch.setattr(Takeovers, "is_contested", False)
    ups: list[bool] = []
    link = Link(mosquitto.settings, "leaks", on_state=lambda state: ups.append(state.connected))
    link.start()
    held: list[tuple[int, int]] = []
    for cut in range(1, LINKS + 1):
        wait_until(lambda cut=cut: ups.count(True) == cut, f"connection {cut} stands")
        held.append((count_files(), threading.active_count()))
        assert link._client is not None
        link._client.socket().shutdown(2)
    wait_until(lambda: ups.count(True) == LINKS + 1, "the last connection stands")
    link.stop()
    assert held[-1] == held[WARM_UP]


async def test_reloads_leave_nothing_behind(mosquitto: Mosquitto, tmp_path: Path, free_port: int) -> None:
    """50 times other settings of three machines are taken over while the gateway runs."""
    opcua_port = find_free_port()
    with machine_server("modbus", free_port, TAGS), machine_server("opcua", opcua_port, TAGS):
        ports = {"modbus": free_port, "polled": opcua_port, "followed": opcua_port}
        machines = [make_machine(kind, port) for kind, port in ports.items()]
        settings = make_settings(tmp_path, mosquitto.settings).model_copy(
            update={"machines": tuple(machines)}
        )
        agent, stop = Agent(settings), asyncio.Event()
        running = asyncio.create_task(agent.run(stop))
        await until(lambda: all_connected(agent), "the machines are connected")
        number = 0

        async def cycle() -> None:
            nonlocal number
            number += 1
            interval_s = 0.05 + number % 2 / 100
            changed = tuple(one.model_copy(update={"interval_s": interval_s}) for one in machines)
            await agent.reload(settings.model_copy(update={"machines": changed}))
            await until(lambda: all_connected(agent), "the machines are connected again")

        await repeat(cycle, RELOADS)
        stop.set()
        await running


def all_connected(agent: Agent) -> bool:
    """Return whether every machine of the agent answers."""
    machines = agent._states.list_all()
    return bool(machines) and all(machine.state == "connected" for machine in machines)
