"""`forewarn edge probe` over every kind of line: a serial port, serial frames over TCP, TLS."""

import asyncio
import json
import ssl
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from forewarn.cli import app
from tests.integration.modbus_rig import HOST, UnitsRig, make_certificate

FOUND = "- {name: value_1, table: holding, address: 7, type: int16, scale: 0.1}"


async def probe(where: str, *options: str | Path | int) -> Result:
    """Look for what holding register 7 of unit 2 holds, 2007, as 200.7."""
    asked = ["--unit", "2", "--around", "40008", "--expect", "200.7", "--tolerance", "0.05", "--timeout", "1"]
    words = ["edge", "probe", where, *asked, *map(str, options)]
    return await asyncio.to_thread(CliRunner().invoke, app, words)


async def test_over_a_serial_port() -> None:
    """A path is a port of this computer; its settings are options."""
    rig = UnitsRig(2)
    await rig.start_rtu()
    told = await probe(rig.device, "--baudrate", 115_200, "--parity", "none")
    assert FOUND in told.stdout, told.exception
    assert (told.exit_code, rig.written, rig.overlaps) == (0, [], 0)
    await rig.stop()


async def test_over_serial_frames_on_the_network() -> None:
    """A converter that passes them on is a host with --transport."""
    rig = UnitsRig(2)
    await rig.start_rtu_over_tcp()
    told = await probe(HOST, "--port", rig.port, "--transport", "rtu-over-tcp")
    assert FOUND in told.stdout, told.exception
    await rig.stop()


async def test_over_tls_with_a_certificate_of_ours(tmp_path: Path) -> None:
    """What is said of certificates means TLS."""
    make_certificate(tmp_path, "plc-7")
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trust.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    trust.verify_mode = ssl.CERT_REQUIRED
    trust.load_verify_locations(tmp_path / "ca.pem")
    rig = UnitsRig(2)
    await rig.start_tcp(trust=trust)
    own = ["--certificate-file", tmp_path / "client.pem", "--key-file", tmp_path / "client.key"]
    whom = ["--ca-file", tmp_path / "ca.pem", "--server-name", "plc-7"]
    told = await probe(HOST, "--port", rig.port, *whom, *own)
    assert FOUND in told.stdout, told.exception
    await rig.stop()


async def test_json_gives_an_object_per_reading() -> None:
    """For programs: what the settings of a tag would say, the value, and how unlikely it is."""
    rig = UnitsRig(2)
    await rig.start_tcp()
    told = await probe(HOST, "--port", rig.port, "--json")
    first, *_ = [json.loads(line) for line in told.stdout.splitlines()]
    assert first == {
        "table": "holding",
        "address": 7,
        "type": "int16",
        "scale": 0.1,
        "value": 200.7,
        "points": 1,
    }
    told = await probe(HOST, "--port", rig.port, "--json", "--expect", "77777")
    assert (told.stdout, told.exit_code) == ("", 1)
    await rig.stop()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["/dev/ttyUSB0", "--transport", "tls"], "/dev/ttyUSB0 is a serial port: leave --transport out"),
        (["plc", "--baudrate", "9600"], "--baudrate is for a serial port, and plc is a host"),
        (["/dev/ttyUSB0", "--baudrate", "9601"], "--baudrate: Input should be 1200, 2400"),
        (["plc", "--transport", "tls"], "TLS needs to know whose word to take for the machine: --ca-file"),
        (["plc", "--server-name", "plc-7"], "TLS needs to know whose word to take for the machine"),
        (["plc", "--transport", "rtu-over-tcp", "--unit", "0"], "--unit: 0 is outside 1..247"),
        (["/dev/no-such-port"], "/dev/no-such-port is not there: is the adapter plugged in?"),
    ],
)
async def test_what_leads_nowhere_is_said(words: list[str], message: str) -> None:
    """The option that is wrong or missing, before anything is sent."""
    where, *options = words
    told = await probe(where, *options)
    assert told.exit_code == 1
    assert message in str(told.exception)
