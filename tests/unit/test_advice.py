"""What to check: the shipped rules name the right cause for the tags of real machines."""

from pathlib import Path

import pytest

from cloud.alerts import advice
from cloud.alerts.advice import find_shipped_advice, load_adviser, matches_pattern, split_words
from cloud.watch.observations import Contribution
from models.settings import SettingsError

ADVISER = load_adviser()
TYPES = sorted(path.stem for path in find_shipped_advice().glob("*.yaml"))


def blame(*tags: str) -> list[Contribution]:
    """Return contributions, strongest first; a tag written `-flow` reads too low."""
    return [
        Contribution(tag.lstrip("-"), 1.0, 2.0, (-9.0 if tag.startswith("-") else 9.0) + n * 0.1)
        for n, tag in enumerate(tags)
    ]


@pytest.mark.parametrize(
    ("machine_type", "tags", "cause"),
    [
        ("pump", ["vibration_velocity", "bearing_temperature", "motor_current"], "Bearing wear"),
        ("pump", ["bearing_temperature", "vibration_velocity"], "Bearing wear"),
        ("pump", ["BrgTemp_DE"], "Bearing runs hot (lubrication)"),
        ("pump", ["-suction_pressure", "vibration_velocity", "-flow"], "Cavitation"),
        ("pump", ["-suction_pressure"], "Suction starved (strainer or valve)"),
        ("pump", ["-flow", "discharge_pressure"], "Discharge throttled or blocked"),
        ("pump", ["-flow", "-discharge_pressure"], "Worn impeller, internal leak or air in the pump"),
        ("pump", ["vibration_velocity", "motor_current"], "Misalignment or something rubbing"),
        ("compressor", ["discharge_temperature", "-discharge_pressure"], "Valve leak"),
        ("compressor", ["-oil_pressure"], "Oil supply"),
        ("compressor", ["-suction_press"], "Inlet filter clogged"),
        ("motor", ["winding_temperature", "current"], "Overload"),
        ("motor", ["current"], "Electrical fault or overload"),
        ("motor", ["vibration_velocity", "bearing_temperature", "current"], "Bearing wear"),
        ("crusher", ["vibration", "bearing_temp"], "Bearing wear"),
        ("pump", ["ambient_humidity"], ""),
        ("pump", ["<script>alert(1)</script>"], ""),
        ("pump", [], ""),
    ],
)
def test_the_blamed_tags_name_the_cause(machine_type: str, tags: list[str], cause: str) -> None:
    """The rule that names the most and strongest tags, in the right direction, wins."""
    given = ADVISER.advise(machine_type, blame(*tags))
    assert given.cause == cause
    assert given.check


@pytest.mark.parametrize("machine_type", TYPES)
def test_shipped_advice_reads_as_sentences(machine_type: str) -> None:
    """Every type says what to check on any blame and on a faulty tag, in whole sentences."""
    for given in (ADVISER.advise(machine_type, []), ADVISER.advise_on_tags(machine_type)):
        assert all(sentence[0].isupper() and sentence.endswith(".") for sentence in given.check)


def test_names_are_matched_by_their_words() -> None:
    """Case, separators, numbers and usual abbreviations do not hide a tag; a part of a word is no match."""
    assert split_words("BrgTemp_DE1") == {"bearing", "temperature", "de"}
    assert matches_pattern("bearing temperature", blame("P7.brg-temp")[0])
    assert not matches_pattern("oil pressure", blame("boil_pressure")[0])
    assert not matches_pattern("flow low", blame("flow")[0])


def test_advice_is_found_beside_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel carries the folder inside `forewarn`, a checkout at its root."""
    installed = tmp_path / "forewarn" / "configs" / "machine-types"
    monkeypatch.setattr(advice, "__file__", str(tmp_path / "cloud" / "alerts" / "advice.py"))
    assert find_shipped_advice() == installed
    (tmp_path / "configs" / "machine-types").mkdir(parents=True)
    assert find_shipped_advice() == tmp_path / "configs" / "machine-types"


def test_a_folder_without_generic_advice_is_refused(tmp_path: Path) -> None:
    """The mistake is named at the start, not when the first machine fails."""
    with pytest.raises(SettingsError, match=r"has no generic\.yaml"):
        load_adviser(tmp_path)


def test_a_mistake_in_a_rule_is_named_with_its_line(tmp_path: Path) -> None:
    """A plant's own advice is checked like every settings file."""
    (tmp_path / "generic.yaml").write_text(
        "title: Machine\notherwise: [Look.]\nfaulty_tag: [Look.]\n"
        "rules:\n  - tags: [flow]\n    say: Blocked\n    check: [Look.]\n"
    )
    with pytest.raises(
        SettingsError, match=r"generic\.yaml:6:5 rules\[0\]\.say: unknown key\. Did you mean says"
    ):
        load_adviser(tmp_path)
