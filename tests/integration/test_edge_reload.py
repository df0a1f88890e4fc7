"""Settings that change while the gateway runs as a program: taken over, or refused; nobody else notices."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

from tests.integration.drivers_rig import ModbusRig
from tests.integration.edge_rig import until
from tests.servers import find_free_port

ROOT = Path(__file__).parents[2]
PUMP, FAN = "site/area/line/pump-7", "site/area/line/fan-2"


def write(
    file: Path, machines: dict[str, int], *, head: str = "gateway: pi-01", interval_s: float = 0.05
) -> None:
    """Write the settings of machines behind these ports, in two steps as an editor may."""
    lines = [head, "broker: {port: 1}", "health: {port: null}", "machines:"]
    for path, port in machines.items():
        lines += [f"  - path: {path}", "    kind: modbus", "    host: 127.0.0.1", f"    port: {port}"]
        lines += [f"    interval_s: {interval_s if path == FAN else 0.05}", "    tags:"]
        lines += ["      - {name: current, table: holding, address: 0, type: uint16}"]
    text = "\n".join([*lines, ""])
    file.write_text(text[: len(text) // 2])
    file.write_text(text)


class Gateway:
    """`forewarn edge run`, and what it says."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._log = config.with_suffix(".log")

    async def start(self) -> None:
        """Start the program."""
        with self._log.open("wb") as log:
            self.running = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-c", "from forewarn.cli import main; main()", "edge", "run"),
                *("--config", str(self._config), "--log-format", "json"),
                cwd=ROOT,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def said(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of one kind."""
        lines = [json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def connects(self, machine: str) -> int:
        """Return how often a machine was connected to."""
        return sum(line["machine"] == machine for line in self.said("machine_connected"))


async def test_changed_settings_are_taken_over_machine_by_machine(tmp_path: Path) -> None:
    """A machine comes, bad settings are refused, one goes and one changes; the rest is never interrupted."""
    rigs = [ModbusRig(find_free_port(), {"holding": {0: 42}}) for _ in range(2)]
    for rig in rigs:
        await rig.start()
    pump, fan = rigs
    config = tmp_path / "edge.yaml"
    write(config, {PUMP: pump.port})
    gateway = Gateway(config)
    await gateway.start()
    try:
        await until(lambda: len(pump.requests) > 5, "the first machine is read")

        write(config, {FAN: fan.port, PUMP: pump.port})
        await until(
            lambda: len(fan.requests) > 5, "the file's change was noticed, the second machine is read"
        )
        (reloaded,) = gateway.said("settings_reloaded")
        assert (reloaded["begun"], reloaded["ended"], reloaded["kept"]) == ([FAN], [], 1)

        write(config, {PUMP: pump.port}, head="gatway: pi-01")
        gateway.running.send_signal(signal.SIGHUP)
        await until(lambda: bool(gateway.said("settings_refused")), "bad settings were refused")
        assert (
            "edge.yaml:1:1 gatway: unknown key. Did you mean gateway?"
            in gateway.said("settings_refused")[0]["reason"]
        )
        before = (len(pump.requests), len(fan.requests))
        await until(
            lambda: len(pump.requests) > before[0] + 5 and len(fan.requests) > before[1] + 5, "both go on"
        )

        write(config, {FAN: fan.port}, head="gateway: pi-01\nnamespace: other", interval_s=0.04)
        gateway.running.send_signal(signal.SIGHUP)
        await until(lambda: len(gateway.said("settings_reloaded")) == 2, "the new settings were taken")
        reloaded = gateway.said("settings_reloaded")[1]
        assert (reloaded["begun"], sorted(reloaded["ended"]), reloaded["kept"]) == ([FAN], [FAN, PUMP], 0)
        assert gateway.said("settings_need_restart")[0]["keys"] == ["namespace"]
        after = (len(pump.requests), len(fan.requests))
        await until(lambda: len(fan.requests) > after[1] + 10, "the changed machine is read on")
        assert len(pump.requests) == after[0], "the machine that went is left alone"
        assert (gateway.connects(PUMP), gateway.connects(FAN)) == (1, 2)
        assert gateway.said("link_lost") == []
        assert gateway.said("part_died") == []
    finally:
        gateway.running.terminate()
        assert await asyncio.wait_for(gateway.running.wait(), 20) == 0
        for rig in rigs:
            await rig.stop()
