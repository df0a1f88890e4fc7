"""Machines as devices: their ids, the history of those that are away, new tags, what is too large."""

import pytest

from edge.sparkplug.devices import DeviceTag
from edge.sparkplug.names import NodeNames, check_id, choose_group
from edge.sparkplug.session import BirthTooLarge, NodeSession
from models.telemetry import Frame, MachinePath
from tests.unit.sparkplug_rig import (
    MOTOR,
    NAMES,
    NODE_VALUES,
    NOW_MS,
    PUMP,
    PUMP_FRAME,
    PUMP_ID,
    TAGS,
    born_session,
    kinds,
    make_frame,
    make_session,
    read,
)


def test_tck_id_topics_nbirth_topic_and_its_like() -> None:
    """Every message has the topic of the specification; those of the node name no device."""
    assert NAMES.topic("NBIRTH") == "spBv1.0/riverside/NBIRTH/pi-01"
    assert NAMES.topic("NDEATH") == "spBv1.0/riverside/NDEATH/pi-01"
    assert NAMES.topic("DBIRTH", NAMES.device_id(PUMP)) == f"spBv1.0/riverside/DBIRTH/pi-01/{PUMP_ID}"


def test_tck_id_topic_structure_namespace_unique_device_id() -> None:
    """The site is left out where the group says it, and only there: two machines never share a device id."""
    far = MachinePath.parse("lakeside/hall-1/water/pump-7")
    assert NAMES.device_id(PUMP) == PUMP_ID
    assert NAMES.device_id(far) == "lakeside:hall-1:water:pump-7"
    assert NodeNames("plant", "pi-01").device_id(PUMP) == "riverside:hall-1:water:pump-7"


@pytest.mark.parametrize("wrong", ["a+b", "a/b", "#", "", " a", "a\nb", "x" * 129])
def test_tck_id_topic_structure_namespace_valid_group_id(wrong: str) -> None:
    """The signs that MQTT reserves are refused in ids."""
    with pytest.raises(ValueError, match=r"reserves|printable"):
        check_id(wrong)
    assert check_id("Sparkplug B Devices °1") == "Sparkplug B Devices °1"


def test_the_group_is_the_site_of_all_machines_or_must_be_set() -> None:
    """Two sites have no name in common."""
    far = MachinePath.parse("lakeside/hall-1/water/pump-7")
    assert choose_group(None, [PUMP, MOTOR]) == "riverside"
    assert choose_group("plant", [PUMP, far]) == "plant"
    with pytest.raises(ValueError, match=r"2 sites \(lakeside, riverside\).*set sparkplug.group"):
        choose_group(None, [PUMP, far])


def test_history_of_a_machine_that_is_away_is_framed_by_a_birth_and_a_death() -> None:
    """Values from before are is_historical; a machine that is not there is not left standing as alive."""
    session = make_session()
    session.birth([], NODE_VALUES, NOW_MS)
    frame = make_frame({"current": [12.4, 12.5]})
    away = session.publish_backlog(MOTOR, [frame], NOW_MS, is_present=False)
    assert [kind.split("/")[0] for kind in kinds(away)] == ["DBIRTH", "DDATA", "DDEATH"]
    assert [metric.is_null for metric in read(away[0]).metrics] == [True]
    assert [(metric.value, metric.is_historical) for metric in read(away[1]).metrics] == [
        (12.4, True),
        (12.5, True),
    ]
    there = session.publish_backlog(MOTOR, [frame], NOW_MS, is_present=True)
    assert [kind.split("/")[0] for kind in kinds(there)] == ["DBIRTH", "DDATA"]


def test_a_tag_that_no_birth_named_brings_a_new_birth_first() -> None:
    """tck-id-topics-dbirth-metric-reqs: a DBIRTH names every metric that is reported on."""
    session = born_session()
    messages = session.publish_backlog(PUMP, [make_frame({"old name": [1.0]})], NOW_MS, is_present=True)
    assert [kind.split("/")[0] for kind in kinds(messages)] == ["DBIRTH", "DDATA"]
    named = {metric.alias: metric.name for metric in read(messages[0]).metrics}
    assert [named[metric.alias] for metric in read(messages[1]).metrics] == ["old name"]


def test_a_machine_of_no_settings_is_given_its_history_too() -> None:
    """What a reload took out still waits in the outbox: it goes out under its own name."""
    session = make_session()
    session.birth([], NODE_VALUES, NOW_MS)
    gone = MachinePath.parse("riverside/hall-2/air/compressor-1")
    messages = session.publish_backlog(gone, [make_frame({"pressure": [7.1]})], NOW_MS, is_present=False)
    assert kinds(messages)[1] == "DDATA/pi-01/hall-2:air:compressor-1"


def test_other_machines_keep_what_they_were_and_nothing_is_born_until_it_is_born_again() -> None:
    """A reload keeps the last values of tags that stay."""
    session = born_session()
    session.set_machines({PUMP: [DeviceTag("bearing_temperature", "K")]})
    assert not session.is_born
    [metric] = read(session.birth([PUMP], NODE_VALUES, NOW_MS)[1]).metrics
    assert (metric.value, metric.properties["engUnit"].value) == (61.6, "K")


def test_values_are_cut_and_a_birth_that_the_broker_refuses_is_named() -> None:
    """DDATA is cut to size, each part with its own number; a DBIRTH cannot be."""
    session = NodeSession(NAMES, TAGS, {}, bytes_max=100)
    session.connect(0)
    session.birth([], {}, NOW_MS)
    session.publish(MOTOR, [make_frame({"current": [0.0]})], NOW_MS)
    parts = session.publish(MOTOR, [make_frame({"current": [float(row) for row in range(9)]})], NOW_MS)
    assert len(parts) > 1
    assert all(len(part.payload) <= 100 for part in parts)
    assert [read(part).seq for part in parts] == list(range(2, 2 + len(parts)))
    assert [metric.value for part in parts for metric in read(part).metrics] == [float(n) for n in range(9)]
    session.birth_bytes_max = 60
    with pytest.raises(BirthTooLarge, match=r"pump-7 has \d+ bytes for 2 tags, and the broker takes 60"):
        session.publish(PUMP, [PUMP_FRAME], NOW_MS)


def test_what_is_older_than_what_is_known_is_history() -> None:
    """tck-id-operational-behavior-data-publish-dbirth-order: values that a machine's history gave back."""
    session = born_session()
    gap = Frame([(NOW_MS - 2000) * 10**6, (NOW_MS - 1000) * 10**6], {"bearing_temperature": [60.0, 60.5]})
    now = Frame([(NOW_MS + 2000) * 10**6], {"bearing_temperature": [62.0]})
    messages = session.publish(PUMP, [now, gap], NOW_MS)
    said = [
        (metric.timestamp, metric.value, metric.is_historical)
        for message in messages
        for metric in read(message).metrics
    ]
    assert said == [
        (NOW_MS - 2000, 60.0, True),
        (NOW_MS - 1000, 60.5, True),
        (NOW_MS + 2000, 62.0, False),
    ]
    assert [read(message).seq for message in messages] == [2, 3]
    born = read(session.birth([PUMP], NODE_VALUES, NOW_MS)[1]).metrics
    assert [metric.value for metric in born if metric.name == "bearing_temperature"] == [62.0]


def test_many_sets_of_tags_have_one_current_value_each() -> None:
    """Reported by exception, frames hold any tags: each keeps its last value, and no more is kept."""
    session = NodeSession(NAMES, {PUMP: [DeviceTag(f"tag {n}") for n in range(200)]}, {})
    session.connect(0)
    for step in range(400):
        tags = {f"tag {n}": [float(step)] for n in (step % 200, (step * 7) % 200)}
        session.observe(PUMP, [Frame([(NOW_MS + step) * 10**6], tags)])
    wanted = {}
    for step in range(400):
        wanted |= dict.fromkeys((f"tag {step % 200}", f"tag {(step * 7) % 200}"), float(step))
    born = read(session.birth([PUMP], {}, NOW_MS)[1]).metrics
    assert {metric.name: metric.value for metric in born} == wanted
