"""A gateway whose clock says 1970 at the start and is set later, as on a computer without a battery."""

import os
import sqlite3
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

from models.telemetry import decode_batch
from tests.servers import find_program, wait_until

ROOT = Path(__file__).parents[2]
PROGRAM = """
import asyncio, sys
from itertools import pairwise
from pathlib import Path
from edge.agent import Agent, run_until_signal
from edge.polling.poller import MachineSource
from models.link import BrokerSettings
from tests.integration.edge_rig import PATH, CountingDriver, make_settings
settings = make_settings(Path(sys.argv[1]), BrokerSettings(port=int(sys.argv[2])))
asyncio.run(run_until_signal(Agent(settings, [MachineSource(PATH, CountingDriver(0.02))])))
"""


def read_values(path: Path) -> list[tuple[float, int]]:
    """Return (count, timestamp) of everything in the outbox."""
    if not path.exists():
        return []
    beside = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        rows = beside.execute("SELECT payload FROM batches ORDER BY sequence").fetchall()
    except sqlite3.OperationalError:  # not there yet
        return []
    finally:
        beside.close()
    return [
        (float(count or 0), at)
        for (payload,) in rows
        for frame in decode_batch(payload).frames
        for count, at in zip(frame.values["count"], frame.timestamps, strict=True)
    ]


def test_no_value_is_filed_in_1970(tmp_path: Path, free_port: int) -> None:
    """Nothing goes to the disk until the clock is set; then every value is there, with its true time."""
    shim, offset = tmp_path / "clockshim.so", tmp_path / "offset"
    source = Path(__file__).with_name("clockshim.c")
    subprocess.run(
        [find_program("gcc"), "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True, timeout=60
    )
    offset.write_text(f"{-int(time.time()) + 100}")
    said = tmp_path / "said.log"
    began_ns = time.time_ns()
    with said.open("wb") as log:
        edge = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path), str(free_port)],
            cwd=ROOT,
            env={**os.environ, "LD_PRELOAD": str(shim), "CLOCK_OFFSET_FILE": str(offset)},
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: b"clock_behind" in said.read_bytes(), "it noticed")
        time.sleep(1)  # fifty more polls by the wrong clock
        assert read_values(tmp_path / "outbox.sqlite") == []
        set_ns = time.time_ns()
        offset.write_text("0")
        wait_until(lambda: b"clock_set" in said.read_bytes(), "it was set")
        before = len(read_values(tmp_path / "outbox.sqlite"))
        wait_until(lambda: len(read_values(tmp_path / "outbox.sqlite")) > before + 20, "it goes on")
    finally:
        edge.terminate()
        edge.communicate(timeout=20)
    values = read_values(tmp_path / "outbox.sqlite")
    counts, stamps = [count for count, _ in values], [at for _, at in values]
    assert counts == [float(number) for number in range(1, len(counts) + 1)]
    assert stamps == sorted(set(stamps))
    assert began_ns < stamps[0] < set_ns
    assert sum(at < set_ns for at in stamps) >= 40
    assert stamps[-1] < time.time_ns()
    assert max(later - earlier for earlier, later in pairwise(stamps)) < 2_000_000_000
