"""Dead machines leave the others' schedule alone: the real gateway, and machines by libmodbus."""

import json
from itertools import cycle, islice
from pathlib import Path

import pytest

from tests.integration.modbus_plant import (
    DEATHS,
    choose_port,
    describe_machine,
    dying_machines,
    measure_punctuality,
    running_gateway,
    running_plant,
)
from tests.servers import wait_until

ALIVE = 12
DEAD = 6
INTERVAL_S = 0.25
POLLS_EACH = 24
LATENESS_MS_MAX = 200.0
"""Loose: the test machine is shared. The benchmark prints what it is."""


@pytest.mark.timeout(120)
def test_dead_machines_leave_the_others_on_schedule(tmp_path: Path) -> None:
    """Black holes, refusals and silence: every living machine is polled every interval, in time."""
    port = choose_port()
    with (
        running_plant(tmp_path, ALIVE, port) as log,
        dying_machines(list(islice(cycle(DEATHS), DEAD)), port) as dead,
    ):
        hosts = [*dead, *(f"127.0.0.{number}" for number in range(1, ALIVE + 1))]
        machines = [
            describe_machine(number, host, port, 4, interval_s=INTERVAL_S, timeout_s=0.5)
            for number, host in enumerate(hosts)
        ]
        with running_gateway(tmp_path, machines):
            wanted = ALIVE * POLLS_EACH
            wait_until(lambda: log.read_bytes().count(b"\n") > wanted, f"{wanted} polls", 60)
        told = [json.loads(line) for line in (tmp_path / "gateway.log").read_text().splitlines()]
        found = measure_punctuality(log, INTERVAL_S, 1.0)
    assert found.machines == ALIVE
    assert found.missed <= found.polls // 50
    assert found.quantile_ms(0.99) < LATENESS_MS_MAX
    lost = {line["machine"]: line["reason"] for line in told if line["event"] == "link_lost"}
    reasons = [lost.pop(f"riverside/hall-1/water/machine-{number}") for number in range(DEAD)]
    expected = ["does not answer: check the address", "refuses the connection", "has not answered for 1 s"]
    assert all(said in reason for said, reason in zip(cycle(expected), reasons, strict=False))
    assert not lost
