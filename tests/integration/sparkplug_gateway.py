"""A gateway as a program of its own, to be killed; its arguments are a folder and the broker's port."""

import asyncio
import sys
from pathlib import Path

from edge.agent import Agent
from edge.polling.poller import MachineSource
from models.link import BrokerSettings
from tests.integration.edge_rig import PATH, CountingDriver
from tests.integration.sparkplug_rig import make_sparkplug_settings


async def main() -> None:
    """Run until killed."""
    settings = make_sparkplug_settings(Path(sys.argv[1]), BrokerSettings(port=int(sys.argv[2])))
    await Agent(settings, [MachineSource(PATH, CountingDriver())]).run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main())
