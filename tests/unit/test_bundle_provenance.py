"""Provenance: a card says how far each tag was believed, what its limit realised, and where it comes from."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from cloud.machines import CardBox, MachineCard, TagCard
from models.anomaly.bundle import load_current, save_bundle
from models.anomaly.calibration.promise import MONTH_S
from models.anomaly.provenance import Origin, Replay, TagGrade, count_realised
from models.anomaly.training import train_bundle
from models.telemetry import quality
from tests.unit.test_bundle import BEGIN_NS, MACHINE, SCRIPT, make_columns, train


def test_the_card_grades_every_tag_with_its_reason() -> None:
    """A constant tag, one with few values and one that is often bad are graded, the left out ones, too."""
    columns, rows = make_columns(), 900
    columns["few"] = np.where(np.arange(rows) < 300, columns["flow"], np.nan)
    codes = {"few": np.where(np.arange(rows) < 300, quality.GOOD, quality.BAD).astype(np.uint32)}
    stamps = BEGIN_NS + np.arange(rows, dtype=np.int64) * 1_000_000_000
    card = train_bundle(str(MACHINE), stamps, columns, codes, grid_s=1.0, trained_ns=BEGIN_NS).card
    assert card.grades["flow"] == TagGrade("high", "a value in 100% of the rows")
    assert card.grades["setpoint"] == TagGrade("low", "always 4: nothing can be learned from it")
    assert card.grades["few"].grade == "low"
    assert "67% marked bad" in card.grades["few"].reason
    assert set(card.grades) == {"flow", "setpoint", "few", "temperature", SCRIPT}
    assert set(card.left_out) == {"setpoint", "few"}


def test_what_the_held_out_rows_realised_is_counted_in_episodes_a_month() -> None:
    """Two spells above the limit in half an hour are so many a month; none is none."""
    scores = np.full(1_800, 0.5)
    assert count_realised(scores, 1.0, 1.0) == 0.0
    scores[200:220] = scores[900:930] = 2.0
    assert count_realised(scores, 1.0, 1.0) == pytest.approx(2 * MONTH_S / 1_800)
    card = train().card
    assert card.realised == 0.0  # this limit is never below what normal running reached


def test_what_the_trainer_knew_comes_back(tmp_path: Path) -> None:
    """Parent, units, exclusions and replayed events survive the files; a card from before has none."""
    origin = Origin("20261101T000000.000000Z", {"flow": "m³/h"}, [(1, 2)], [Replay(1, 2, is_found=True)])
    bundle = train()
    with_origin = msgspec.structs.replace(bundle, card=msgspec.structs.replace(bundle.card, origin=origin))
    save_bundle(tmp_path, with_origin)
    assert load_current(tmp_path, MACHINE).card.origin == origin
    assert bundle.card.origin == Origin()


def test_units_come_from_the_cards_that_people_wrote() -> None:
    """Tags without a unit are left out, machines without a card have none."""
    tags = {"flow": TagCard(unit="m³/h"), "state": TagCard(title="State")}
    box = CardBox([MachineCard(path=MACHINE, tags=tags)])
    assert box.list_units(MACHINE) == {"flow": "m³/h"}
    assert CardBox().list_units(MACHINE) == {}
