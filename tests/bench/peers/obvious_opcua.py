"""The obvious gateway: asyncua reads all nodes in one call every second, json encodes, paho publishes."""

import asyncio
import json
import sys
import time

import paho.mqtt.client as paho
from asyncua import Client
from paho.mqtt.enums import CallbackAPIVersion


async def run(url: str, count: int, port: int, topic: str) -> None:
    """Poll for ever, on an absolute schedule."""
    broker = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    broker.connect("127.0.0.1", port)
    broker.loop_start()
    async with Client(url, timeout=30) as client:
        nodes = [client.get_node(f"ns=1;s=t{at}") for at in range(count)]
        due = time.monotonic()
        while True:
            now_ms = time.time_ns() // 1_000_000
            values = await client.read_values(nodes)
            broker.publish(topic, json.dumps({"ts": now_ms, "values": values}), qos=1)
            due += 1
            await asyncio.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
