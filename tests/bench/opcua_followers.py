"""Ways to follow counting nodes of an OPC UA server, each in a process of its own: cost, loss and memory."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from time import monotonic, process_time
from typing import Any

from asyncua import Client

from edge.drivers.opcua.client import OpcuaSession
from edge.drivers.opcua.driver import OpcuaDriver
from edge.drivers.opcua.following import Following
from edge.drivers.opcua.sayings import Sayings
from edge.drivers.opcua.settings import OpcuaMachineSettings

NAMESPACE = "urn:forewarn:plant"
WARM_UP_S = 2.5

Report = dict[str, Any]


def describe(url: str, count: int, interval_s: float, publish_s: float) -> OpcuaMachineSettings:
    """Return a machine of that many counters."""
    tags = [{"name": f"t{at}", "node_id": f"nsu={NAMESPACE};s=pump-7.t{at}"} for at in range(count)]
    return OpcuaMachineSettings.model_validate(
        {
            "kind": "opcua",
            "path": "s/a/l/m",
            "url": url,
            "interval_s": interval_s,
            "publish_s": publish_s,
            "timeout_s": 30,
            "allow_insecure": True,
            "tags": tags,
        }
    )


class Tally:
    """How many values came, and how many numbers of each counter were left out."""

    def __init__(self) -> None:
        self.values = self.missing = 0
        self.tags: dict[Any, float] = {}

    def count(self, tag: Any, column: list[Any]) -> None:
        """Look at the next values of a counter."""
        before = self.tags.get(tag)
        if before is not None:
            self.missing += int(column[-1] - before) - len(column)
        else:
            self.missing += int(column[-1] - column[0]) + 1 - len(column)
        self.tags[tag] = column[-1]
        self.values += len(column)


async def follow_with_driver(settings: OpcuaMachineSettings, seconds: float) -> Report:
    """Our driver, from bytes to frames."""
    driver = settings.build()
    await driver.connect()
    tally = Tally()
    await _read_on(driver, tally, WARM_UP_S)
    warm = tally.values
    cost_s = await _read_on(driver, tally, seconds)
    gaps = driver.take_gaps()
    await driver.close()
    return _report(tally, cost_s, tally.values - warm) | {"gaps": len(gaps)}


async def _read_on(driver: OpcuaDriver, tally: Tally, seconds: float) -> float:
    """Count what is read; return the CPU time of all but the counting, which is not the gateway's."""
    end, cost_s = monotonic() + seconds, 0.0
    while monotonic() < end:
        begin = process_time()
        frames = await driver.read()
        cost_s += process_time() - begin
        for frame in frames:
            for tag, column in frame.values.items():
                tally.count(tag, column)
    return cost_s


async def follow_raw(settings: OpcuaMachineSettings, seconds: float) -> Report:
    """Our decoder alone: from bytes to columns, and no frames."""
    session = OpcuaSession(settings)
    await session.open()
    index = session.namespaces.index(NAMESPACE)
    places = range(len(settings.tags))
    session.choose({at: (index, f"pump-7.t{at}") for at in places}, [list(places)])
    following = Following(session, settings, [(settings.interval_s, list(places))], Sayings("m"))
    await following.begin()
    tally, values, begin, end = Tally(), 0, process_time(), monotonic() + seconds
    is_warm, warm_at = False, monotonic() + WARM_UP_S
    while monotonic() < end + WARM_UP_S:
        if not is_warm and monotonic() > warm_at:
            is_warm, values, begin = True, 0, process_time()
        values += sum(len(rows.places) for rows in await following.next_rows(1.0))
    cost_s = process_time() - begin
    await session.close()
    return _report(tally, cost_s, values)


async def follow_with_asyncua(settings: OpcuaMachineSettings, seconds: float) -> Report:
    """asyncua's usual way: an object that is called with each value."""
    tally, counted = Tally(), 0

    class Ear:
        def datachange_notification(self, node: Any, value: float, _change: Any) -> None:
            tally.count(node.nodeid.Identifier, [value])

    client = Client(settings.url, timeout=30)
    await client.connect()
    index = await client.get_namespace_index(NAMESPACE)
    subscription = await client.create_subscription(1_000 * (settings.publish_s or 1), Ear())
    nodes = [client.get_node(f"ns={index};s=pump-7.{tag.name}") for tag in settings.tags]
    for at in range(0, len(nodes), 1_000):
        await subscription.subscribe_data_change(
            nodes[at : at + 1_000], queuesize=100, sampling_interval=1_000 * settings.interval_s
        )
    await asyncio.sleep(WARM_UP_S)
    begin, counted = process_time(), tally.values
    await asyncio.sleep(seconds)
    cost_s = process_time() - begin
    report = _report(tally, cost_s, tally.values - counted)
    await client.disconnect()
    return report


def _report(tally: Tally, cost_s: float, values: int) -> Report:
    status = Path("/proc/self/status").read_text().splitlines()
    resident = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    return {
        "us": cost_s / max(values, 1) * 1e6,
        "values": values,
        "missing": tally.missing,
        "tags": len(tally.tags),
        "rss_mb": resident / 1024,
    }


WAYS = {"ours": follow_with_driver, "raw": follow_raw, "asyncua": follow_with_asyncua}


def follow(way: str, url: str, count: int, *, interval_s: float, publish_s: float, seconds: float) -> Report:
    """Return what a process of its own reports that follows the server so."""
    said = [way, url, *map(str, (count, interval_s, publish_s, seconds))]
    command = [sys.executable, "-m", "tests.bench.opcua_followers", *said]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    report: Report = json.loads(told.stdout.splitlines()[-1])
    return report


if __name__ == "__main__":
    way, url, count, interval_s, publish_s, seconds = sys.argv[1:]
    machine = describe(url, int(count), float(interval_s), float(publish_s))
    print(json.dumps(asyncio.run(WAYS[way](machine, float(seconds)))))
