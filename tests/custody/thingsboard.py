"""ThingsBoard's gateway in the custody tests: on the same disk, clock and line as ours, its own machines."""

import json
from pathlib import Path

import paho.mqtt.client as paho

from tests.bench.peers.gateways import ThingsBoard, thingsboard_modbus
from tests.bench.peers.listener import Arrivals, Listener
from tests.custody.process import Process
from tests.custody.site import Site
from tests.custody.truth import make_path

STORAGES = {2: "sqlite", 3: "memory"}
"""By the number of the gateway: that which is to survive a restart, and that which it is shipped with."""


class Server(Listener):
    """What ThingsBoard's server is to its gateways; ours are none of its business."""

    def _take_ours(self, client: paho.Client, topic: str, payload: bytes) -> None:
        """Leave it to the ingester."""

    def of(self, machine: str) -> Arrivals:
        """Return what has come of a machine."""
        return self.arrivals.get(machine, Arrivals())


class ThingsBoardProcess(Process):
    """The gateway as a program that can be killed and frozen; `folder` is its own."""

    def __init__(self, site: Site, number: int, prefix: list[str], broker: tuple[str, int]) -> None:
        name = f"gateway-{number}"
        super().__init__(name, site.folder, [], prefix, **site.clock)
        host, port = broker
        machines = site.machines
        paths = [str(make_path(number, "modbus", index)) for index in range(machines.modbus)]
        connector = make_connector(paths, site.modbus_ports[number], machines.interval_s)
        gateway = ThingsBoard(name, site.disk, port, connector, storage=STORAGES[number])
        file = gateway.folder / "tb_gateway.json"
        settings = json.loads(file.read_text())
        settings["thingsboard"]["host"] = host
        file.write_text(json.dumps(settings))
        command, environment = gateway._command()
        self._words = [*prefix, *command]
        self._environment |= environment
        self._folder: Path = gateway.folder


def make_connector(machines: list[str], port: int, interval_s: float) -> tuple[str, dict[str, object]]:
    """Return the Modbus connector: the number of each machine, one unit each, as often as ours reads them."""
    slaves = []
    for index, machine in enumerate(machines):
        kind, settings = thingsboard_modbus(machine, port, 1)
        (slave,) = settings["master"]["slaves"]  # type: ignore[index]  # as it is made over there
        number = {"tag": "number", "type": "64float", "address": 0, "objectsCount": 4, "functionCode": 3}
        slaves.append(
            slave | {"unitId": index + 1, "pollPeriod": int(1000 * interval_s), "timeseries": [number]}
        )
    return kind, {"master": {"slaves": slaves}}
