"""Serves a simulated plant: steps its machines with the clock, and shows their tags over both protocols."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from edge.simulator.modbus_server import FloatRegisters, ModbusServer, WaveRegisters
from edge.simulator.opcua_server import OpcuaServer
from edge.simulator.pace import wait
from edge.simulator.plant import PlantSettings, SimulatedMachineSettings, label_faults
from edge.simulator.sections import WAVEFORM_ADDRESS, Section, list_edge_machines
from edge.simulator.simulation import Simulation, begin
from edge.simulator.waveforms import COUNT_MS2, NODE

BEHIND_S_MAX = 60.0


class LivePlant:
    """A plant whose step 0 is at `start_ns`; before it runs the healthy past, after it what plant.yaml says.

    `tell_ready` is called once, with the addresses and the labelled faults, when values can be read.
    """

    def __init__(
        self,
        plant: PlantSettings,
        start_ns: int,
        tell_ready: Callable[[Mapping[str, Any], Section], None],
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._plant = plant
        self._start_ns = start_ns
        self._tell_ready = tell_ready
        self._clock_ns = clock_ns
        self._step_ns = round(plant.step_s * 1e9)
        self._update_steps = max(round(plant.update_s / plant.step_s), 1)
        self._simulations: list[Simulation] = []
        self._registers = {
            machine.path.machine: _make_registers(machine)
            for machine in plant.machines
            if machine.protocol == "modbus"
        }
        names = {machine.unit_id: machine.path.machine for machine in plant.machines}
        units = {unit_id: self._registers[name] for unit_id, name in names.items() if name in self._registers}
        has_opcua = any(machine.protocol == "opcua" for machine in plant.machines)
        self._opcua = OpcuaServer(plant.opcua.port) if has_opcua else None
        self._modbus = ModbusServer(plant.modbus.port, units) if units else None

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set; raise `PortTaken`."""
        try:
            await self._open()
            while not stop.is_set():
                await self._follow_clock()
                await wait(stop, self._find_pause_s())
        finally:
            await self._close()

    async def _open(self) -> None:
        if self._opcua is not None:
            await self._opcua.start()
            for machine in self._plant.machines:
                if machine.protocol == "opcua":
                    await self._opcua.add_machine(machine.path.machine, list(machine.tags), self._clock_ns())
                    if machine.waveform is not None:
                        await self._opcua.add_waveform(machine.path.machine, NODE, self._clock_ns())
        self._simulations = begin(self._plant, self._find_step())
        for simulation in self._simulations:
            await self._show(simulation, always=True)
        if self._modbus is not None:
            await self._modbus.start()
        self._tell_ready(self._describe(), self._list_edge_machines())

    async def _follow_clock(self) -> None:
        step = self._find_step()
        behind_max = math.ceil(BEHIND_S_MAX / self._plant.step_s)
        for simulation in self._simulations:
            simulation.advance_to(step - behind_max)
            # One step at a time, so that after a stall every update is told, late but with its own time.
            while simulation.step < step:
                simulation.advance_to(simulation.step + 1)
                await self._show(simulation)

    async def _show(self, simulation: Simulation, *, always: bool = False) -> None:
        name = simulation.machine.path.machine
        if name in self._registers:
            self._registers[name].write(simulation.measure())
        elif self._opcua is not None and (always or simulation.step % self._update_steps == 0):
            timestamp_ns = self._start_ns + simulation.step * self._step_ns
            await self._opcua.write(name, simulation.measure(), timestamp_ns)
        await self._show_waveform(simulation, always=always)

    async def _show_waveform(self, simulation: Simulation, *, always: bool) -> None:
        waveform = simulation.machine.waveform
        if waveform is None:
            return
        steps = max(round(waveform.interval_s / self._plant.step_s), 1)
        if not always and simulation.step % steps:
            return
        name = simulation.machine.path.machine
        registers = self._registers.get(name)
        if isinstance(registers, WaveRegisters):
            registers.write_waveform(simulation.listen())
        elif self._opcua is not None:
            timestamp_ns = self._start_ns + simulation.step * self._step_ns
            await self._opcua.write_waveform(name, simulation.listen(), timestamp_ns)

    def _find_step(self) -> int:
        return (self._clock_ns() - self._start_ns) // self._step_ns

    def _find_pause_s(self) -> float:
        next_ns = self._start_ns + (self._find_step() + 1) * self._step_ns
        return max(next_ns - self._clock_ns(), 0) / 1e9

    def _describe(self) -> dict[str, Any]:
        return {
            "ready": True,
            "opcua": None if self._opcua is None else self._opcua.url,
            "modbus": None if self._modbus is None else self._modbus.address,
            "start_ns": self._start_ns,
            "machines": [str(machine.path) for machine in self._plant.machines],
            "faults": label_faults(self._plant, self._start_ns),
        }

    def _list_edge_machines(self) -> Section:
        opcua_url = None if self._opcua is None else self._opcua.url
        modbus_address = None if self._modbus is None else self._modbus.address
        return list_edge_machines(self._plant, opcua_url, modbus_address)

    async def _close(self) -> None:
        if self._modbus is not None:
            await self._modbus.stop()
        if self._opcua is not None:
            await self._opcua.stop()


def _make_registers(machine: SimulatedMachineSettings) -> FloatRegisters:
    if machine.waveform is None:
        return FloatRegisters(list(machine.tags))
    return WaveRegisters(list(machine.tags), WAVEFORM_ADDRESS, machine.waveform.samples, COUNT_MS2)
