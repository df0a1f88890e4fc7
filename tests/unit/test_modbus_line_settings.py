"""Which machines share a line, what a line needs to be told, and how long a silent unit is left alone."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from edge.drivers.modbus.breaker import MISSES_MAX, PROBE_S_MAX, PROBE_S_MIN, Breaker
from edge.drivers.modbus.line import find_line
from edge.drivers.modbus.settings import ModbusMachineSettings
from edge.settings import EdgeSettings

TAGS = [{"name": "a", "table": "holding", "address": 0, "type": "uint16"}]
SERIAL = {"device": "/dev/ttyUSB0"}
TLS = {"ca_file": "/etc/plant-ca.pem"}


def describe(name: str = "m", **more: Any) -> dict[str, Any]:
    return {"kind": "modbus", "path": f"s/a/l/{name}", "tags": TAGS, **more}


def load(**more: Any) -> ModbusMachineSettings:
    return ModbusMachineSettings.model_validate(describe(**more))


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        ({}, "the machine's address is missing: host: 192.168.0.20"),
        ({"transport": "rtu"}, "transport: rtu needs its port: serial: {device: /dev/ttyUSB0"),
        (
            {"transport": "rtu", "serial": SERIAL, "host": "plc"},
            "is a serial port of this computer",
        ),
        ({"host": "plc", "serial": SERIAL}, "serial goes with transport: rtu, not with tcp"),
        ({"transport": "tls", "host": "plc"}, "transport: tls needs to know whom to trust: tls: {ca_file:"),
        ({"host": "plc", "tls": TLS}, "tls goes with transport: tls, not with tcp"),
        ({"transport": "rtu", "serial": SERIAL, "unit_id": 0}, "0 is outside 1..247"),
        ({"transport": "rtu-over-tcp", "host": "plc", "unit_id": 248}, "248 is outside 1..247"),
        ({"transport": "rtu", "serial": {**SERIAL, "baudrate": 9601}}, "Input should be 1200, 2400"),
    ],
)
def test_what_does_not_lead_to_a_machine_is_said(machine: dict[str, Any], message: str) -> None:
    """Each mistake names what is wrong and what to write."""
    with pytest.raises(ValidationError) as caught:
        load(**machine)
    assert message in str(caught.value)
    assert caught.value.error_count() == 1


def test_a_transport_brings_its_usual_port() -> None:
    """502, or 802 with TLS; what is written stands."""
    assert load(host="plc").port == 502
    assert load(host="plc", transport="tls", tls=TLS).port == 802
    assert load(host="plc", transport="tls", tls=TLS, port=8802).port == 8802


def test_the_same_address_is_the_same_line() -> None:
    """Machines that differ in unit, timeout and tags share a line; another port is another line."""
    one = load(host="plc", unit_id=1)
    two = load(host="plc", unit_id=2, transport="tcp", timeout_s=0.3)
    lines = [find_line(settings.line) for settings in (one, two, load(host="plc", port=503))]
    assert lines[0] is lines[1]
    assert lines[0] is not lines[2]
    ports = [load(transport="rtu", serial=serial).line for serial in (SERIAL, {**SERIAL, "baudrate": 19_200})]
    assert find_line(ports[0]) is not None
    assert ports[0] == ports[1]


@pytest.mark.parametrize(
    ("one", "two", "differing"),
    [
        ({"host": "plc"}, {"host": "plc", "transport": "rtu-over-tcp"}, "transport"),
        (
            {"transport": "rtu", "serial": SERIAL},
            {"transport": "rtu", "serial": {**SERIAL, "parity": "none"}},
            "serial",
        ),
        (
            {"host": "plc", "transport": "tls", "tls": TLS},
            {"host": "plc", "transport": "tls", "tls": {**TLS, "server_name": "plc-7"}},
            "tls",
        ),
    ],
)
def test_neighbours_that_disagree_about_their_line_are_refused(
    one: dict[str, Any], two: dict[str, Any], differing: str
) -> None:
    """A line has one speed and one transport: the message names both machines and what differs."""
    machines = [describe("lone", host="other"), describe("one", **one), describe("two", **two)]
    with pytest.raises(ValidationError) as caught:
        EdgeSettings.model_validate({"gateway": "pi-01", "machines": machines})
    where = one.get("host", SERIAL["device"])
    assert f"machines[1] and machines[2] share the line {where}" in str(caught.value)
    assert f"and differ in {differing}: there is one connection" in str(caught.value)


def test_files_of_tls_are_meant_from_the_settings_file(tmp_path: Path) -> None:
    """As every path in the settings."""
    settings = ModbusMachineSettings.model_validate(
        describe(host="plc", transport="tls", tls={"ca_file": "ca.pem"}), context={"folder": tmp_path}
    )
    assert settings.tls is not None
    assert settings.tls.ca_file == tmp_path / "ca.pem"


def test_a_silent_unit_is_left_alone_ever_longer() -> None:
    """One miss is forgiven; then the waits double up to their bound; an answer ends them."""
    breaker, now_s = Breaker(), 100.0
    for _ in range(MISSES_MAX - 1):
        breaker.take_miss(now_s)
        assert breaker.count_wait_s(now_s) == 0.0
    waits = []
    for _ in range(8):
        breaker.take_miss(now_s)
        waits.append(breaker.count_wait_s(now_s))
        assert breaker.count_wait_s(now_s + waits[-1] - 0.1) > 0.0
        now_s += waits[-1]
        assert breaker.count_wait_s(now_s) == 0.0
    assert waits[:3] == [PROBE_S_MIN, 2 * PROBE_S_MIN, 4 * PROBE_S_MIN]
    assert waits[-1] == PROBE_S_MAX
    breaker.take_answer(0.01)
    breaker.take_miss(now_s)
    assert breaker.count_wait_s(now_s) == 0.0


def test_a_probe_waits_shortly_for_a_unit_that_used_to_answer_fast() -> None:
    """A few times as long as its slowest answer, twice as long after each miss, never longer than a read."""
    breaker = Breaker()
    assert breaker.choose_timeout_s(1.0) == 1.0
    for _ in range(MISSES_MAX):
        breaker.take_miss(0.0)
    assert breaker.choose_timeout_s(1.0) == 1.0  # it has never answered: nobody knows how slow it is
    breaker.take_answer(0.05)
    breaker.take_answer(0.01)
    for _ in range(MISSES_MAX):
        assert breaker.choose_timeout_s(1.0) == 1.0
        breaker.take_miss(0.0)
    waits = []
    for _ in range(5):
        waits.append(breaker.choose_timeout_s(1.0))
        breaker.take_miss(0.0)
    assert waits[:3] == pytest.approx([0.19, 0.38, 0.76])
    assert waits[3:] == [1.0, 1.0]
    breaker.take_answer(0.001)
    assert breaker.choose_timeout_s(1.0) == 1.0
