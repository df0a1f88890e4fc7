"""Makes OPC UA drivers of a few tags for the tests, and reads them until something has come."""

import asyncio
from typing import Any

from edge.drivers.opcua.driver import OpcuaDriver
from edge.drivers.opcua.settings import OpcuaMachineSettings
from models.telemetry import Frame
from tests.integration.drivers_rig import NAMESPACE, OpcuaRig

PATIENCE_S = 15


def build(rig: OpcuaRig, nodes: dict[str, str], **more: Any) -> OpcuaDriver:
    """Make the driver of these tags (name: node id, short for one of our namespace)."""
    tags = [
        {"name": name, "node_id": node if "=" in node else f"nsu={NAMESPACE};s=pump-7.{node}"}
        for name, node in nodes.items()
    ]
    return OpcuaMachineSettings.model_validate(
        {"kind": "opcua", "path": "s/a/l/pump", "url": rig.url, "interval_s": 0.1, "tags": tags}
        | ({"allow_insecure": True} if "security" not in more else {})
        | more
    ).build()


async def read_for(driver: OpcuaDriver, tag: str, rows: int) -> dict[int, tuple[Any, int]]:
    """Read until a tag has that many rows; return value and quality by timestamp."""
    seen: dict[int, tuple[Any, int]] = {}
    async with asyncio.timeout(PATIENCE_S):
        while len(seen) < rows:
            seen |= take_rows(await driver.read(), tag)
            await asyncio.sleep(0.01)
    return seen


def take_rows(frames: list[Frame], tag: str) -> dict[int, tuple[Any, int]]:
    return {
        stamp: (frame.values[tag][row], frame.quality.get(tag, {}).get(row, 0))
        for frame in frames
        if tag in frame.values
        for row, stamp in enumerate(frame.timestamps)
    }
