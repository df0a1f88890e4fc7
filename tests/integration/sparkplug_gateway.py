"""A gateway as a program of its own, to be killed: `start_gateway` says what its arguments are."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from edge.agent import Agent
from edge.polling.poller import MachineSource
from models.link import BrokerSettings
from tests.integration.edge_rig import PATH, CountingDriver
from tests.integration.sparkplug_rig import make_sparkplug_settings

ROOT = Path(__file__).parent.parent.parent


def start_gateway(
    folder: Path, port: int, count_from: int = 0, **section: object
) -> "subprocess.Popen[bytes]":
    """Start the program; its machine counts up from a number."""
    arguments = [str(folder), str(port), json.dumps(section), str(count_from)]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.integration.sparkplug_gateway", *arguments],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


async def main(folder: str, port: str, section: str, count_from: str) -> None:
    """Run until killed."""
    broker = BrokerSettings(port=int(port))
    settings = make_sparkplug_settings(Path(folder), broker, **json.loads(section))
    driver = CountingDriver()
    driver.count = int(count_from)
    await Agent(settings, [MachineSource(PATH, driver)]).run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
