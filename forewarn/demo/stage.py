"""Sets up the demo's programs as a user would run them, and takes them down in order."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forewarn.demo.broker import make_broker
from forewarn.demo.console import Console
from forewarn.demo.mail_sink import MailSink
from forewarn.demo.plan import Plan
from forewarn.demo.programs import (
    Program,
    ProgramFailed,
    find_free_port,
    forewarn_command,
    is_answering,
    wait_for,
)
from forewarn.demo.summary import Account

HISTORY_S = 1800
INTERVAL_S = 0.5
START_S_MAX = 60.0
DRAIN_S_MAX = 15.0
GATEWAY = "demo"

EDGE_HEAD = """\
gateway: {gateway}
broker: {{host: 127.0.0.1, port: {broker}}}
outbox: {{path: outbox.sqlite, flush_s: 0.5}}
health: {{port: null}}
"""
CLOUD_HEAD = """\
broker: {{host: 127.0.0.1, port: {broker}}}
records: {{path: records.sqlite}}
store: {{kind: embedded, path: store.sqlite}}
bundles: bundles
watch: {{grid_s: {interval}, bundle_check_s: 1.0}}
alerts: {{on_delay_s: 4.0, off_delay_s: 30.0, forecast: {{every_s: 1.0}}}}
console: {{host: 127.0.0.1, port: {console}, public_url: "http://127.0.0.1:{console}"}}
notifiers:
  - kind: email
    host: 127.0.0.1
    port: {mail}
    starttls: none
    sender: Forewarn <forewarn@plant.example>
    recipients: [crew@plant.example]
"""


class Stage:
    """The demo's programs in `folder`: plant, broker, edge, cloud, and a mail server in this process."""

    def __init__(self, plan: Plan, plant: Path, folder: Path, console_port: int, seed: int | None) -> None:
        self.start_ns = time.time_ns()
        self.folder = folder
        self._plan = plan
        self._plant_settings = plant
        self._seed = [] if seed is None else ["--seed", str(seed)]
        self._ports = {"broker": find_free_port(), "mail": find_free_port(), "console": console_port}
        self.broker_name, self.broker = make_broker(self._ports["broker"], folder)
        self._programs = [self.broker]
        self.mail = MailSink(self._ports["mail"], folder / "mail")
        self.console = Console(f"http://127.0.0.1:{console_port}")
        self.facts: dict[str, Any] = {}
        self.plant = self._make("plant", *self._plant_arguments())
        self.edge = self._make("edge", "edge", "run", "--config", str(folder / "edge.yaml"))
        self.cloud = self._make("cloud", "cloud", "run", "--config", str(folder / "cloud.yaml"))

    def seconds(self, at_ns: float | None = None) -> float:
        """Return seconds since the start of the demo, of `at_ns` (nanoseconds since 1970) or of now."""
        return ((time.time_ns() if at_ns is None else at_ns) - self.start_ns) / 1e9

    def open(self, tell: Callable[[str], None]) -> None:
        """Start everything, teach the models on a simulated past, and return once values flow."""
        past = self._make("history", *self._past_arguments())
        for program in (self.broker, self.plant, past):
            program.start()
        self.mail.start()
        self.facts = self.plant.read_facts(START_S_MAX)
        self._write_settings()
        wait_for(lambda: is_answering(self._ports["broker"]), "the broker answers", START_S_MAX)
        tell(
            f"broker: {self.broker_name}; plant: OPC UA {self.facts['opcua']}, Modbus {self.facts['modbus']}"
        )
        past.wait(START_S_MAX)
        # Training holds scikit-learn in memory: the service starts when it is through.
        machines = self._learn(tell)
        self.cloud.start()
        self.edge.start()
        wait_for(lambda: self._is_flowing(machines), "the console answers and values flow", START_S_MAX)

    def check(self) -> None:
        """Raise `ProgramFailed` when a program has ended by itself."""
        for program in (self.plant, self.edge, self.cloud):
            program.check()

    def close_books(self) -> Account:
        """End the edge, which empties its outbox first, then the cloud; return what the ledger says."""
        self.edge.ask_to_end()
        wait_for(lambda: self.edge.pid is None, "the edge ends", DRAIN_S_MAX)
        self.cloud.end()
        verify = self._make(
            "verify", "cloud", "verify", "--json", "--config", str(self.folder / "cloud.yaml")
        )
        verify.start()
        return sum_accounts(json.loads(verify.read_output(START_S_MAX))["gateways"])

    def close(self) -> None:
        """End every program, whatever state it is in."""
        for program in self._programs:
            program.ask_to_end()
        for program in self._programs:
            program.end()
        self.mail.stop()

    def _make(self, name: str, *arguments: str) -> Program:
        program = Program(name, forewarn_command(*arguments), self.folder)
        self._programs.append(program)
        return program

    def _plant_arguments(self) -> list[str]:
        plan, folder = self._plan, self.folder
        arguments = ["simulate", "--config", str(self._plant_settings), *self._seed]
        arguments += ["--opcua-port", "0", "--modbus-port", "0", "--start-at", f"{self.start_ns / 1e9:.3f}"]
        arguments += ["--edge-config", str(folder / "edge.machines.yaml")]
        arguments += ["--cloud-config", str(folder / "cloud.machines.yaml")]
        if plan.fault is not None:
            arguments += ["--fault", plan.scenario, "--machine", plan.fault.machine]
            arguments += ["--onset", f"{plan.onset_s:.3f}"]
        if plan.failure_s is not None:
            arguments += ["--failure", f"{plan.failure_s:.3f}"]
        return arguments

    def _past_arguments(self) -> list[str]:
        span = ["--history", str(HISTORY_S), "--interval", str(INTERVAL_S)]
        until = ["--until", f"{self.start_ns / 1e9:.3f}", "--csv-dir", str(self.folder / "history")]
        return ["simulate", "--config", str(self._plant_settings), *self._seed, *span, *until]

    def _write_settings(self) -> None:
        for name, head in (("edge", EDGE_HEAD), ("cloud", CLOUD_HEAD)):
            machines = (self.folder / f"{name}.machines.yaml").read_text(encoding="utf-8")
            text = head.format(**self._ports, gateway=GATEWAY, interval=INTERVAL_S)
            (self.folder / f"{name}.yaml").write_text(text + machines, encoding="utf-8")

    def _learn(self, tell: Callable[[str], None]) -> list[str]:
        """Put the simulated past into the store and train a model per machine on it; return the machines."""
        settings = ["--config", str(self.folder / "cloud.yaml")]
        files = sorted((self.folder / "history").glob("*.csv"))
        machines = {path.rpartition("/")[2]: path for path in self._list_machines()}
        imports = [
            self._make(
                f"import-{file.stem}",
                "cloud",
                "import",
                str(file),
                "--machine",
                machines[file.stem],
                *settings,
            )
            for file in files
        ]
        for program in imports:
            program.start()
        for program in imports:
            program.wait(START_S_MAX)
        chosen = [word for path in machines.values() for word in ("--machine", path)]
        training = self._make("train", "cloud", "train", *chosen, *settings)
        training.start()
        training.wait(START_S_MAX)
        tell(f"trained {len(machines)} models on {HISTORY_S // 60} simulated minutes each")
        return list(machines.values())

    def _list_machines(self) -> list[str]:
        text = (self.folder / "cloud.machines.yaml").read_text(encoding="utf-8")
        lead = '  - path: "'
        return [line.removeprefix(lead).rstrip('"') for line in text.splitlines() if line.startswith(lead)]

    def _is_flowing(self, machines: list[str]) -> bool:
        for program in (self.plant, self.edge, self.cloud):
            program.check()
        return self.console.count_speaking_machines(self.start_ns / 1e6) == len(machines)


def sum_accounts(accounts: list[dict[str, Any]]) -> Account:
    """Return the sums over all gateways of what `forewarn cloud verify --json` printed."""
    if not accounts:
        raise ProgramFailed("the ledger knows no gateway: no value ever arrived")
    return Account(
        produced=sum(account["values_produced"] for account in accounts),
        stored=sum(account["values_stored"] for account in accounts),
        missing=sum(account["values_missing"] for account in accounts),
    )
