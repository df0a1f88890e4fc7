"""The list of drivers: a machine's `kind` picks its settings, which build its driver."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from edge.drivers.modbus.line_settings import check_lines
from edge.drivers.modbus.settings import ModbusMachineSettings
from edge.drivers.opcua.settings import OpcuaMachineSettings

MachineSettings = Annotated[OpcuaMachineSettings | ModbusMachineSettings, Field(discriminator="kind")]
"""Settings of any machine: `.path`, `.tags` (each with `.name` and `.unit`), `.interval_s`, `.build()`."""


def check_neighbours(machines: Sequence[MachineSettings]) -> None:
    """Raise `ValueError` when machines that share something disagree about it."""
    check_lines(machines)
