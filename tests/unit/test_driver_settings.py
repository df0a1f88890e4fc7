"""Settings of machines: the documents' samples load, and every mistake is answered with its mend."""

import re
from pathlib import Path
from typing import Any

import pytest

import edge.drivers
from edge.drivers.modbus.settings import ModbusMachineSettings, ModbusTagSettings
from edge.drivers.opcua.settings import OpcuaMachineSettings, OpcuaSecuritySettings, OpcuaTagSettings
from edge.settings import EdgeSettings
from models.settings import SettingsError, load_settings

DOCUMENTS = Path(edge.drivers.__file__).parent
KINDS = {
    "modbus": [ModbusMachineSettings, ModbusTagSettings],
    "opcua": [OpcuaMachineSettings, OpcuaTagSettings, OpcuaSecuritySettings],
}

MODBUS = "kind: modbus\n    host: 192.168.0.20"
OPCUA = "kind: opcua\n    url: opc.tcp://192.168.0.10:4840"
CURRENT = "{name: current, table: holding, address: 0, type: float32}"
FLOW = "{name: flow, node_id: 'nsu=urn:plant;s=flow'}"


def write(folder: Path, machine: str, tag: str, more: str = "") -> Path:
    file = folder / "edge.yaml"
    lines = ["gateway: pi-01", "machines:", "  - path: site/area/line/machine", f"    {machine}"]
    lines += [f"    {more}"] if more else []
    file.write_text("\n".join([*lines, "    tags:", f"      - {tag}", ""]))
    return file


@pytest.mark.parametrize("kind", KINDS)
def test_the_samples_in_the_documents_load_and_build(kind: str, tmp_path: Path) -> None:
    """What a person copies out of the document is right as it stands."""
    samples = re.findall(r"```yaml\n(.*?)```", (DOCUMENTS / f"{kind}.md").read_text(), re.DOTALL)
    assert samples
    for sample in samples:
        file = tmp_path / "edge.yaml"
        file.write_text(sample)
        for machine in load_settings(file, EdgeSettings).machines:
            assert machine.build().interval_s in (machine.interval_s, None)


@pytest.mark.parametrize("kind", KINDS)
def test_the_documents_name_every_setting(kind: str) -> None:
    """A setting without its line in the document is not done."""
    text = (DOCUMENTS / f"{kind}.md").read_text()
    wanted = {name for settings in KINDS[kind] for name in settings.model_fields} - {"kind", "tags", "policy"}
    assert not {name for name in wanted if f"`{name}`" not in text}


@pytest.mark.parametrize(
    ("machine", "more", "tag", "expected"),
    [
        (
            *(MODBUS, "", CURRENT.replace("address: 0", "address: 400001")),
            "machines[0].tags[0].address: 400001 is outside 0..65535: "
            "in the notation of manuals 400001 is table: holding, address: 0",
        ),
        (
            *(MODBUS, "", CURRENT.replace("address: 0", "address: 300010")),
            "machines[0].tags[0].address: 300010 is outside 0..65535: "
            "in the notation of manuals 300010 is table: input, address: 9",
        ),
        (
            *(MODBUS, "", CURRENT.replace("address: 0", "address: 70000")),
            "machines[0].tags[0].address: 70000 is outside 0..65535: addresses count from 0, "
            "and 40001 in a manual is mostly table: holding, address: 0",
        ),
        (
            *(MODBUS, "", CURRENT.replace("address: 0", "address: 65535")),
            "machines[0].tags[0].type: float32 at address 65535 ends behind the last register (65535)",
        ),
        (
            *(MODBUS, "", "{name: on, table: coil, address: 0, type: uint16}"),
            "machines[0].tags[0].type: table coil holds single bits: type is bool, not uint16",
        ),
        (
            *(MODBUS, "", "{name: on, table: holding, address: 0, bit: 3, type: uint16}"),
            "machines[0].tags[0].bit: bit goes with type: bool, not with uint16",
        ),
        (
            *(MODBUS, "", CURRENT.replace("holding", "holdings")),
            "machines[0].tags[0].table: 'holdings' is not one of holding, input, coil, discrete. "
            "Did you mean holding?",
        ),
        (
            *(MODBUS, "adress: 1", CURRENT),
            "machines[0].adress: unknown key. Known here: ",
        ),
        (
            *(MODBUS, "", f"{CURRENT}\n      - {CURRENT}"),
            "machines[0].tags: tags[0] and tags[1] are both named 'current': a name stands once on a machine",
        ),
        (
            *(OPCUA, "", FLOW),
            "machines[0].allow_insecure: there is no security: anyone on the network could read along",
        ),
        (
            *(OPCUA, "allow_insecure: true", FLOW.replace("nsu=urn:plant;s=", "")),
            "machines[0].tags[0].node_id: 'flow' is not a node id: write nsu=URI;s=Name, or ns=2;s=Name",
        ),
        (
            *(OPCUA.replace("opc.tcp", "http"), "allow_insecure: true", FLOW),
            "machines[0].url: 'http://192.168.0.10:4840' is not opc.tcp://host:port",
        ),
        (
            *(OPCUA.replace("//", "//me:secret@"), "allow_insecure: true", FLOW),
            "machines[0].url: a user and password do not belong into the url",
        ),
        (
            *(OPCUA, "{allow_insecure: true, password: hunter2}"[1:-1].replace(", ", "\n    "), FLOW),
            "machines[0].password: a secret is never written in YAML",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place_and_its_mend(
    tmp_path: Path, machine: str, more: str, tag: str, expected: str
) -> None:
    """File, line and column stand before it; the path, what is wrong and what to write after it."""
    file = write(tmp_path, machine, tag, more)
    with pytest.raises(SettingsError) as caught:
        load_settings(file, EdgeSettings)
    first = str(caught.value).splitlines()[0]
    assert re.match(rf"{re.escape(str(file))}:\d+:\d+ ", first)
    assert expected in first


@pytest.mark.parametrize(
    "tag",
    ["{name: on, table: coil, address: 0}", "{name: on, table: holding, address: 0, bit: 15}"],
)
def test_what_can_only_be_a_bool_need_not_say_so(tmp_path: Path, tag: str) -> None:
    """Coils, discrete inputs and single bits have no other type."""
    (machine,) = load_settings(write(tmp_path, MODBUS, tag), EdgeSettings).machines
    assert [found.type for found in machine.tags] == ["bool"]  # type: ignore[union-attr]  # a Modbus machine


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "Lagertemperatur °C", "x" * 128])
def test_any_printable_name_is_a_tag(name: str) -> None:
    """1 to 128 printable characters, whatever they mean to a browser."""
    settings: dict[str, Any] = {"name": name, "table": "holding", "address": 0, "type": "int16"}
    assert ModbusTagSettings.model_validate(settings).name == name


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (
            "deadband: 1, deadband_percent: 1",
            "tags[0].deadband_percent: there is a deadband already: say one of deadband and deadband_percent",
        ),
        ("plausible: {low: 5, high: 5}", "tags[0].plausible.high: 5 is not above low (5)"),
        (
            "while_running: {tag: current}",
            "tags[0].while_running: while_running is for the watch on stuck values: add stuck_after_s",
        ),
        (
            "stuck_after_s: 60, while_running: {tag: curent}",
            "machines[0].tags: tags[0].while_running names 'curent', which is no tag of this machine. "
            "Known here: current",
        ),
    ],
)
def test_a_mistake_in_a_tags_rules_is_named(tmp_path: Path, rules: str, expected: str) -> None:
    """Whatever the driver: what contradicts itself, or names a tag that is not there."""
    for machine, more, tag in ((MODBUS, "", CURRENT), (OPCUA, "allow_insecure: true", FLOW)):
        named = tag.replace("name: flow", "name: current").replace("}", f", {rules}}}", 1)
        with pytest.raises(SettingsError) as caught:
            load_settings(write(tmp_path, machine, named, more), EdgeSettings)
        assert expected in str(caught.value)
