"""The ingester killed at every system call between the arrival of batches and its last acknowledgement."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cloud.settings import CloudSettings
from models.settings import load_settings
from tests.custody.process import Process
from tests.integration.ingest_rig import PUMP, START_NS, Gateway
from tests.servers import Mosquitto, find_program, wait_until

CALLS = "pwrite64,fdatasync,sendto"
BATCHES = 3
ROWS = 2
CALLS_MAX = 80
QUICK_STEP = 4


def start_ingester(folder: Path, name: str, broker: Mosquitto) -> Process:
    """Start an ingester over the folder's store and wait until it takes batches."""
    file = folder / "cloud.yaml"
    file.write_text(
        f"broker: {{host: 127.0.0.1, port: {broker.port}}}\nroles: [ingest]\n"
        "records: {path: records.sqlite}\nstore: {kind: embedded, path: store.sqlite}\n"
    )
    ingester = Process(name, folder, ["forewarn", "cloud", "run", "--config", str(file)])
    ingester.start()
    wait_until(lambda: "link_up" in ingester.read_log(), f"{name} is connected")
    return ingester


@contextmanager
def killed_at(ingester: Process, nth: int) -> Iterator[None]:
    """From now on the ingester's `nth` call of those named is its last: SIGKILL before it is made."""
    fault = f"inject={CALLS}:signal=KILL:when={nth}"
    words = ["-f", "-qq", "-o", os.devnull, "-e", f"trace={CALLS}", "-e", fault, "-p", str(ingester.pid)]
    tracer = subprocess.Popen([find_program("strace"), *words], stderr=subprocess.PIPE)
    status = Path(f"/proc/{ingester.pid}/status")
    wait_until(lambda: "TracerPid:\t0\n" not in status.read_text(), "strace has the ingester")
    try:
        yield
    finally:
        tracer.terminate()
        tracer.wait(10)


def read_stored(folder: Path) -> dict[int, float]:
    """Return timestamp and value of everything stored."""
    reader = load_settings(folder / "cloud.yaml", CloudSettings).store.build_reader()
    try:
        table = reader.read("telemetry", PUMP, 0, 2**63 - 1)
        return dict(zip(table.timestamps.tolist(), table.values["count"].tolist(), strict=True))
    finally:
        reader.close()


def send(gateway: Gateway, sequences: range) -> None:
    """Send batches whose values say which they are."""
    for sequence in sequences:
        gateway.send(sequence, count=[float(sequence * ROWS + row) for row in range(ROWS)])


def kill_once(folder: Path, broker: Mosquitto, gateway: Gateway, nth: int, first: int) -> bool:
    """Kill an ingester at its nth call over new batches, let another go on; return whether it was killed."""
    sequences = range(first, first + BATCHES)
    ingester = start_ingester(folder, f"killed-{nth}", broker)
    with killed_at(ingester, nth):
        send(gateway, sequences)
        wait_until(
            lambda: not ingester.is_running or gateway.stored.total >= first + BATCHES - 1,
            "it is killed, or has given its receipts",
            30,
        )
        if ingester.is_running:  # the acknowledgements come after the receipts
            time.sleep(0.3)
        was_killed = not ingester.is_running
    ingester.kill()
    receipted = [sequence for sequence in sequences if sequence in gateway.stored]
    stored = read_stored(folder) if receipted else {}
    for sequence in receipted:
        assert START_NS + sequence * 1_000_000_000 in stored, f"receipt before the store at call {nth}"
    after = start_ingester(folder, f"after-{nth}", broker)
    send(gateway, sequences)  # what a gateway does without a receipt; the broker's copies come as well
    gateway.wait_stored(first + BATCHES - 1)
    after.stop()
    return was_killed


def sweep(folder: Path, broker: Mosquitto, numbers: range) -> int:
    """Kill at each of the calls in turn until there are no more; return how many kills there were."""
    gateway, kills, sent = Gateway(broker.settings), 0, 0
    try:
        for nth in numbers:
            was_killed = kill_once(folder, broker, gateway, nth, sent + 1)
            sent += BATCHES
            if not was_killed:
                break
            kills += 1
        else:
            pytest.fail(f"still killed at call {numbers[-1]}")
    finally:
        gateway.link.stop()
    expected = {
        START_NS + sequence * 1_000_000_000 + row * 1_000_000: float(sequence * ROWS + row)
        for sequence in range(1, sent + 1)
        for row in range(ROWS)
    }
    assert read_stored(folder) == expected
    assert gateway.stored.total == sent
    assert not gateway.dead_lettered.total
    return kills


@pytest.mark.timeout(300)
def test_a_kill_between_store_and_acknowledgement_costs_nothing(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """SIGKILL at every fourth call of the window: nothing lost or doubled, no receipt before the store."""
    assert sweep(tmp_path, mosquitto, range(1, CALLS_MAX, QUICK_STEP)) >= 3


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_kill_at_any_call_costs_nothing(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """The same at every call of the window."""
    assert sweep(tmp_path, mosquitto, range(1, CALLS_MAX)) >= 10
