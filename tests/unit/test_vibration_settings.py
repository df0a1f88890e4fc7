"""What a waveform's settings refuse, and by which names its features travel."""

from pathlib import Path
from typing import Any

import pytest

from edge.drivers.modbus.plan import plan_requests
from edge.drivers.modbus.settings import ModbusMachineSettings
from edge.drivers.tags import list_reported
from edge.settings import EdgeSettings
from edge.sources import find_pace
from edge.vibration.settings import SAMPLES_MAX
from models.settings import SettingsError, load_settings
from tests.unit.vibration_rig import SKF_6205, make_settings

MODBUS = """gateway: pi-01
machines:
  - path: s/a/l/m
    kind: modbus
    host: 127.0.0.1
    tags:
      - {name: speed, table: input, address: 0, type: uint16}
      - {name: v.rms, table: input, address: 1, type: uint16}
      - name: w
        table: input
        address: 100
        type: int16
"""
WAVEFORM = "        waveform: {samples: 4096, rate_hz: 25600}\n"


def load(tmp_path: Path, *lines: str, text: str = MODBUS) -> EdgeSettings:
    file = tmp_path / "edge.yaml"
    file.write_text(text + "".join(lines))
    return load_settings(file, EdgeSettings)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((WAVEFORM.replace("4096", "4098"),), "even product of 2, 3 and 5, as the transform needs: say 4096"),
        ((WAVEFORM.replace("25600", "1500"),), "2000 samples a second"),
        ((WAVEFORM.replace("4096", "2048"),), "0.08 s"),
        ((WAVEFORM.replace("25600", "25600, features: [bands]"),), "bands needs bands_hz"),
        ((WAVEFORM.replace("25600", "25600, features: [envelope]"),), "needs bearing"),
        ((WAVEFORM.replace("25600", "25600, bands_hz: [[10, 13000]]"),), "beyond 12800 Hz"),
        ((WAVEFORM.replace("25600", "25600, bands_hz: [[10, 12]]"),), "narrower than two steps of 6.25 Hz"),
        ((WAVEFORM.replace("25600", "25600, bands_hz: [[20, 10]]"),), "is no band"),
        ((WAVEFORM.replace("25600", "25600, envelope_band_hz: [1000, 20000]"),), "beyond 12800 Hz"),
        (
            (
                WAVEFORM.replace(
                    "25600", "25600, bearing: {balls: 9, ball_diameter_mm: 79.4, pitch_diameter_mm: 39}"
                ),
            ),
            "9 balls of 79.4 mm do not fit on a circle of 39 mm",
        ),
        (
            (
                WAVEFORM.replace(
                    "25600", "25600, bearing: {balls: 9, ball_diameter_mm: 7, pitch_diameter_mm: 39}"
                ),
            ),
            "a bearing needs a speed",
        ),
        ((WAVEFORM.replace("25600", "25600, speed: {tag: speed, rpm: 1500}"),), "say either rpm"),
        (
            (WAVEFORM.replace("25600", "25600, speed: {tag: w}"),),
            "names 'w', which is no tag of this machine",
        ),
        ((WAVEFORM, "        deadband: 1\n"), "deadband is for single values"),
        ((WAVEFORM, "        stuck_after_s: 10\n"), "stuck_after_s is for single values"),
        ((WAVEFORM, "        unit: g\n"), "a waveform's unit stands in here"),
        ((WAVEFORM, "        invalid: [-32768]\n"), "invalid is for single values"),
        (("        counter_address: 99\n",), "counts a waveform's recordings"),
    ],
)
def test_mistakes_are_named_with_their_mend(tmp_path: Path, lines: tuple[str, ...], expected: str) -> None:
    """What cannot be computed, or would be computed wrongly, is refused before anything runs."""
    with pytest.raises(SettingsError, match=r"edge\.yaml:\d+:\d+ machines") as caught:
        load(tmp_path, *lines)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("type: int16", "type: bcd16", "a waveform's samples are int16, uint16"),
        ("address: 100", "address: 62000", "4096 int16 at address 62000 ends behind the last register"),
        ("name: w", "name: v", "is a waveform with a feature of that name: rename v.rms"),
    ],
)
def test_a_waveform_fits_its_machine(tmp_path: Path, before: str, after: str, expected: str) -> None:
    """Type, place and name are held against the table's end and the other tags."""
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, WAVEFORM, text=MODBUS.replace(before, after))
    assert expected in str(caught.value)


def test_features_are_tags_with_units(tmp_path: Path) -> None:
    """In place of the waveform's tag its features are reported, each with its unit; it is read every 10 s."""
    waveform = (
        "        waveform: {samples: 4096, rate_hz: 25600, unit: g, bands_hz: [[10, 1000], [1000, 2500.5]], "
        "bearing: {balls: 9, ball_diameter_mm: 7.94, pitch_diameter_mm: 39.04}, speed: {tag: speed}}\n"
    )
    (machine,) = load(tmp_path, waveform).machines
    units = {tag.name: tag.unit for tag in list_reported(machine.tags)}
    told = "speed: v.rms: w.rms:g w.peak:g w.crest_factor: w.kurtosis: w.velocity_rms:mm/s w.band_10_1000:g "
    told += "w.band_1000_2500.5:g w.bpfo:g w.bpfi:g w.bsf:g w.ftf:g w.envelope_floor:g"
    assert units == dict(one.split(":") for one in told.split())
    assert [tag.interval_s for tag in machine.tags] == [None, None, 10.0]


def test_a_feature_may_say_whether_the_machine_runs(tmp_path: Path) -> None:
    """`while_running` takes a feature's name, and not the waveform's, which never has a value."""
    rule = (
        "      - {name: t, table: input, address: 2, type: uint16, stuck_after_s: 60, "
        "while_running: {tag: %s}}\n"
    )
    load(tmp_path, WAVEFORM, rule % "w.rms")
    with pytest.raises(SettingsError, match="which is no tag of this machine"):
        load(tmp_path, WAVEFORM, rule % "w")


def test_a_block_is_planned_as_many_requests(tmp_path: Path) -> None:
    """4,096 int16 are 33 requests of 125 registers and less, by themselves, each register once."""
    (machine,) = load(tmp_path, WAVEFORM).machines
    assert isinstance(machine, ModbusMachineSettings)
    other, *requests = plan_requests(machine)
    assert (other.tags, other.interval_s) == (("speed", "v.rms"), 1.0)
    assert [request.count for request in requests] == [125] * 32 + [96]
    assert [request.first for request in requests] == list(range(100, 4_196, 125))
    assert {(request.tags, request.interval_s, request.read_through) for request in requests} == {
        (("w",), 10.0, 0)
    }


@pytest.mark.parametrize(
    ("more", "expected"), [({}, 5), ({"bands_hz": [[10, 100]]}, 6), ({"features": ["rms"]}, 1)]
)
def test_features_are_all_that_the_settings_allow(more: dict[str, Any], expected: int) -> None:
    """Bands with bands_hz, the envelope with a bearing, velocity by itself; or the list that is given."""
    assert len(make_settings(**more).features or ()) == expected
    assert "envelope" in (make_settings(bearing=SKF_6205, speed={"rpm": 1}).features or ())
    assert make_settings(samples=SAMPLES_MAX).duration_s == pytest.approx(2.56)


def test_features_may_come_later_than_other_tags(tmp_path: Path) -> None:
    """What was read and not yet computed when the gateway ended lies inside the gap that follows."""
    (plain,), (machine,) = load(tmp_path).machines, load(tmp_path, WAVEFORM).machines
    assert find_pace(plain).lag_ns == 0
    assert find_pace(machine).lag_ns == 10_000_000_000
