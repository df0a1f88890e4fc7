"""The real edge agent, which says every second what it holds; its one argument is its settings file."""

import asyncio
import json
import os
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from edge.agent import Agent, run_until_signal
from edge.settings import EdgeSettings
from forewarn.logs import set_up_logs
from models.garbage import spare_values
from models.settings import load_settings
from models.telemetry import MachinePath

STEADY = MachinePath("s", "a", "l", "steady")
SAY_S = 1.0


def name_task(task: asyncio.Task[Any]) -> str:
    """Return which coroutine a task runs."""
    return str(getattr(task.get_coro(), "__qualname__", task))


async def say(agent: Agent) -> None:
    """Print a line a second: memory, tasks, files, threads, and how often the steady machine was read."""
    while True:
        await asyncio.sleep(SAY_S)
        counted = agent._states.counters.get(STEADY)
        facts = {
            "rss_mb": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6,
            "tasks": dict(Counter(name_task(task) for task in asyncio.all_tasks())),
            "files": len(list(Path("/proc/self/fd").iterdir())),
            "threads": threading.active_count(),
            "reads": 0 if counted is None else counted.reads_total,
        }
        print(json.dumps(facts), flush=True)


async def run(file: Path) -> None:
    """Run the agent of the settings file until it is told to end; SIGHUP has it read the file again."""
    agent = Agent(load_settings(file, EdgeSettings), settings_file=file)
    spare_values()  # as `forewarn edge run` does
    saying = asyncio.create_task(say(agent))
    await run_until_signal(agent)
    saying.cancel()


if __name__ == "__main__":
    set_up_logs("text")
    asyncio.run(run(Path(sys.argv[1])))
