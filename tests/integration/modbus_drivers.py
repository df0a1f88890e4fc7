"""Makes Modbus drivers of a few tags for the tests, and names what they read."""

from collections.abc import Sequence
from typing import Any

from edge.drivers.modbus.driver import ModbusDriver
from edge.drivers.modbus.settings import ModbusMachineSettings
from models.telemetry import Frame

HOST = "127.0.0.1"


def tag(name: str, address: int, table: str = "holding", **more: Any) -> dict[str, Any]:
    """Return a tag that is a whole register, if nothing more is said."""
    return {"name": name, "table": table, "address": address, "type": "uint16", **more}


def describe(port: int, tags: Sequence[dict[str, Any]], **more: Any) -> ModbusMachineSettings:
    """Return the settings of a machine behind a port of 127.0.0.1; 0: where `more` says."""
    where = {"host": HOST, "port": port} if port else {}
    machine = {"kind": "modbus", "path": "s/a/l/m", **where, "tags": list(tags)}
    return ModbusMachineSettings.model_validate(machine | more)


def build(port: int, tags: Sequence[dict[str, Any]], **more: Any) -> ModbusDriver:
    """Return the driver of such a machine, whose tags have one interval."""
    driver = describe(port, tags, **more).build()
    assert isinstance(driver, ModbusDriver)
    return driver


async def connect(port: int, tags: Sequence[dict[str, Any]], **more: Any) -> ModbusDriver:
    """Return such a driver, connected."""
    driver = build(port, tags, **more)
    await driver.connect()
    return driver


def flatten(frames: Sequence[Frame]) -> dict[str, float | None]:
    """Return the first value of each tag."""
    return {name: column[0] for frame in frames for name, column in frame.values.items()}
