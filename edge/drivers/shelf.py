"""The list of drivers: a machine's `kind` picks its settings, which build its driver."""

from typing import Annotated

from pydantic import Field

from edge.drivers.modbus_settings import ModbusMachineSettings
from edge.drivers.opcua_settings import OpcuaMachineSettings

MachineSettings = Annotated[OpcuaMachineSettings | ModbusMachineSettings, Field(discriminator="kind")]
"""Settings of any machine: `.path`, `.tags` (each with `.name` and `.unit`), `.interval_s`, `.build()`."""
