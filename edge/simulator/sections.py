"""Writes the `machines:` sections of edge.yaml and cloud.yaml that fit what a simulator serves."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from edge.simulator.plant import NAMESPACE, PlantSettings, SimulatedMachineSettings
from edge.simulator.waveforms import COUNT_MS2, NODE, TAG, describe_waveform

Section = list[dict[str, Any]]
INTERVAL_S = 0.5
WAVEFORM_ADDRESS = 1000
"""Where a Modbus waveform begins; the register before it counts waveforms."""


def list_node_tags(machine: str, units: Mapping[str, str]) -> Section:
    """Return the tags of an OPC UA machine in edge.yaml; `units` by tag."""
    return [
        {"name": tag, "node_id": f"nsu={NAMESPACE};s={machine}.{tag}", "unit": unit}
        for tag, unit in units.items()
    ]


def list_register_tags(units: Mapping[str, str], kind: str, words: int) -> Section:
    """Return the tags of a Modbus machine in edge.yaml: one after the other from address 0."""
    return [
        {"name": tag, "table": "holding", "address": index * words, "type": kind, "unit": unit}
        for index, (tag, unit) in enumerate(units.items())
    ]


def describe_opcua_machine(
    path: str, url: str, tags: Section, interval_s: float = INTERVAL_S
) -> dict[str, Any]:
    """Return a machine of edge.yaml behind the simulator's OPC UA server."""
    return {
        "path": path,
        "kind": "opcua",
        "url": url,
        "mode": "subscription",
        "interval_s": interval_s,
        "allow_insecure": True,
        "tags": tags,
    }


def describe_modbus_machine(
    path: str, address: str, unit_id: int, tags: Section, interval_s: float = INTERVAL_S
) -> dict[str, Any]:
    """Return a machine of edge.yaml behind the simulator's Modbus server at `address` (host:port)."""
    host, _, port = address.rpartition(":")
    return {
        "path": path,
        "kind": "modbus",
        "host": host,
        "port": int(port),
        "unit_id": unit_id,
        "interval_s": interval_s,
        "tags": tags,
    }


def list_edge_machines(plant: PlantSettings, opcua_url: str | None, modbus_address: str | None) -> Section:
    """Return the machines of a served plant as edge.yaml has them."""
    section = []
    for machine in plant.machines:
        units = {tag: card.unit for tag, card in machine.tags.items()}
        if machine.protocol == "opcua":
            assert opcua_url is not None  # a plant with such a machine has the server
            tags = [*list_node_tags(machine.path.machine, units), *_list_waveforms(machine)]
            section.append(describe_opcua_machine(str(machine.path), opcua_url, tags))
        else:
            assert modbus_address is not None  # a plant with such a machine has the server
            tags = [*list_register_tags(units, "float32", 2), *_list_waveforms(machine)]
            section.append(describe_modbus_machine(str(machine.path), modbus_address, machine.unit_id, tags))
    return section


def _list_waveforms(machine: SimulatedMachineSettings) -> Section:
    """Return the tag of a machine's waveform in edge.yaml, if it has one."""
    if machine.waveform is None:
        return []
    tag: dict[str, Any] = {"name": TAG, "interval_s": machine.waveform.interval_s}
    if machine.protocol == "opcua":
        tag["node_id"] = f"nsu={NAMESPACE};s={machine.path.machine}.{NODE}"
    else:
        tag |= {"table": "holding", "address": WAVEFORM_ADDRESS, "type": "int16", "scale": COUNT_MS2}
        tag["counter_address"] = WAVEFORM_ADDRESS - 1
    return [tag | {"waveform": describe_waveform(machine.waveform)}]


def list_cloud_machines(plant: PlantSettings) -> Section:
    """Return the machines of a plant as cloud.yaml has them: what people call them, and the limits of old."""
    return [_describe_card(machine) for machine in plant.machines]


def _describe_card(machine: SimulatedMachineSettings) -> dict[str, Any]:
    tags: dict[str, dict[str, Any]] = {}
    for tag, card in machine.tags.items():
        tags[tag] = {"unit": card.unit, "title": card.title or tag}
        if card.high is not None:
            tags[tag]["high"] = card.high
    return {"path": str(machine.path), "type": machine.type, "title": machine.title, "tags": tags}


def write_section(machines: Sequence[Mapping[str, Any]]) -> str:
    """Return the YAML text of a `machines:` section, a tag a line.

    Scalars and the innermost mappings are written as JSON, which is YAML: no name or unit can break out.
    """
    lines = ["machines:"]
    for machine in machines:
        keys = [f"{key}: {_write_inline(value)}" for key, value in machine.items() if key != "tags"]
        lines += [f"  - {keys[0]}", *(f"    {key}" for key in keys[1:]), "    tags:"]
        lines += _write_tags(machine["tags"])
    return "\n".join(lines) + "\n"


def _write_tags(tags: Sequence[Any] | Mapping[str, Any]) -> list[str]:
    if isinstance(tags, Mapping):
        return [f"      {_write_inline(tag)}: {_write_inline(card)}" for tag, card in tags.items()]
    return [f"      - {_write_inline(tag)}" for tag in tags]


def _write_inline(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
