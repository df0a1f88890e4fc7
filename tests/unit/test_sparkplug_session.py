"""Births, values, deaths and their numbers, as Sparkplug 3.0 has them; names carry its tck-ids."""

from edge.sparkplug.payload import BOOLEAN, DOUBLE, INT32, INT64, STRING, Property
from edge.sparkplug.session import make_death
from models.telemetry import Frame
from models.telemetry import quality as status
from tests.servers import find_peer
from tests.unit.sparkplug_rig import (
    MOTOR,
    NAMES,
    NODE_VALUES,
    NOW_MS,
    PUMP,
    PUMP_FRAME,
    PUMP_ID,
    born_session,
    kinds,
    make_frame,
    make_session,
    read,
    read_by_npm,
)


def test_tck_id_payloads_nbirth_bdseq_repeat() -> None:
    """The NBIRTH says the bdSeq of the will, Int64 and without an alias, at every birth of the session."""
    session = make_session()
    for _ in range(2):
        nbirth = read(session.birth([], NODE_VALUES, NOW_MS)[0])
        [bdseq] = [metric for metric in nbirth.metrics if metric.name == "bdSeq"]
        assert (bdseq.datatype, bdseq.value, bdseq.alias) == (INT64, 7, None)


def test_tck_id_payloads_nbirth_rebirth_req() -> None:
    """tck-id-operational-behavior-data-commands-rebirth-name-aliases: Rebirth is false and has no alias."""
    nbirth = read(make_session().birth([], NODE_VALUES, NOW_MS)[0])
    [rebirth] = [metric for metric in nbirth.metrics if metric.name == "Node Control/Rebirth"]
    assert (rebirth.datatype, rebirth.value, rebirth.alias) == (BOOLEAN, False, None)


def test_tck_id_topics_nbirth_seq_num() -> None:
    """The NBIRTH has sequence number 0 and the time it was made, a second birth too."""
    session = born_session()
    session.publish(PUMP, [PUMP_FRAME], NOW_MS)
    nbirth = read(session.birth([PUMP], NODE_VALUES, NOW_MS + 5)[0])
    assert (nbirth.seq, nbirth.timestamp) == (0, NOW_MS + 5)


def test_tck_id_payloads_dbirth_order() -> None:
    """DBIRTHs of the machines that are there follow the NBIRTH at once; others are born when they come."""
    session = make_session()
    session.observe(PUMP, [PUMP_FRAME])
    session.observe(MOTOR, [make_frame({"current": [12.4]})])
    messages = session.birth([PUMP], NODE_VALUES, NOW_MS)
    assert kinds(messages) == ["NBIRTH/pi-01", f"DBIRTH/pi-01/{PUMP_ID}"]
    assert [read(message).seq for message in messages] == [0, 1]


def test_tck_id_payloads_sequence_num_incrementing() -> None:
    """Whatever is sent counts one further, from 255 to 0."""
    session = born_session()
    seqs = [1]  # the pump's DBIRTH
    for second in range(300):
        frame = make_frame({"bearing_temperature": [61.5]}, later_s=2 + second)
        seqs += [read(message).seq or 0 for message in session.publish(PUMP, [frame], NOW_MS)]
    seqs += [read(message).seq or 0 for message in session.bury(PUMP, NOW_MS)]
    assert seqs == [(1 + count) % 256 for count in range(302)]


def test_tck_id_payloads_alias_uniqueness() -> None:
    """No alias stands twice in the births of a node, and DBIRTH metrics have name, alias and datatype."""
    session = make_session()
    session.observe(PUMP, [PUMP_FRAME])
    session.observe(MOTOR, [make_frame({"current": [12.4]})])
    messages = [read(message) for message in session.birth([PUMP, MOTOR], NODE_VALUES, NOW_MS)]
    aliases = [metric.alias for message in messages for metric in message.metrics if metric.alias is not None]
    assert len(aliases) == len(set(aliases))
    for message in messages[1:]:
        assert all(metric.name and metric.alias and metric.datatype for metric in message.metrics)


def test_tck_id_operational_behavior_data_publish_dbirth_values() -> None:
    """A DBIRTH says each tag's last value, unit and type; one that said nothing yet is null and stale."""
    session = make_session()
    session.observe(PUMP, [make_frame({"bearing_temperature": [61.5, 61.6]})])
    dbirth = read(session.birth([PUMP], NODE_VALUES, NOW_MS + 9000)[1])
    warm, running = dbirth.metrics
    assert (warm.name, warm.value, warm.datatype) == ("bearing_temperature", 61.6, DOUBLE)
    assert warm.timestamp == NOW_MS + 1000
    assert warm.properties == {"engUnit": Property(STRING, "°C")}
    assert (running.name, running.value, running.is_null) == ("running", None, True)
    assert running.datatype == BOOLEAN
    assert running.properties == {"Quality": Property(INT32, 500)}


def test_a_bad_value_is_born_null_with_its_quality() -> None:
    """BadTimeout is BAD to a host."""
    session = make_session()
    session.observe(MOTOR, [make_frame({"current": [None]}, {"current": {0: status.BAD_TIMEOUT}})])
    [current] = read(session.birth([MOTOR], NODE_VALUES, NOW_MS)[1]).metrics
    assert current.is_null
    assert current.properties["Quality"] == Property(INT32, 0)
    assert current.properties["statusCode"] == Property(INT64, status.BAD_TIMEOUT)


def test_tck_id_payloads_alias_data_cmd_requirement() -> None:
    """DDATA names metrics by alias, without datatype, each with its own timestamp; booleans are such."""
    session = make_session()
    session.observe(PUMP, [PUMP_FRAME])
    births = [read(message) for message in session.birth([PUMP], NODE_VALUES, NOW_MS)]
    named = {metric.alias: metric.name for metric in births[1].metrics}
    frame = make_frame({"bearing_temperature": [61.7, 61.8], "running": [1.0, 0.0]}, later_s=2)
    [ddata] = session.publish(PUMP, [frame], NOW_MS + 4000)
    assert ddata.topic == f"spBv1.0/riverside/DDATA/pi-01/{PUMP_ID}"
    found = read(ddata)
    assert (found.timestamp, found.seq) == (NOW_MS + 4000, 2)
    assert all(metric.name is None and metric.datatype is None for metric in found.metrics)
    assert not any(metric.is_historical for metric in found.metrics)
    assert [(named[metric.alias], metric.timestamp, metric.value) for metric in found.metrics] == [
        ("bearing_temperature", NOW_MS + 2000, 61.7),
        ("running", NOW_MS + 2000, True),
        ("bearing_temperature", NOW_MS + 3000, 61.8),
        ("running", NOW_MS + 3000, False),
    ]


def test_names_in_every_message_where_readers_keep_no_births() -> None:
    """tck-id-payloads-name-requirement: without aliases every value has its name, and here its type."""
    session = make_session(by_alias=False)
    session.observe(PUMP, [PUMP_FRAME])
    births = session.birth([PUMP], NODE_VALUES, NOW_MS)
    assert not [metric for message in births for metric in read(message).metrics if metric.alias is not None]
    frame = make_frame({"bearing_temperature": [61.7, 61.8], "running": [1.0, 0.0]}, later_s=2)
    [ddata] = session.publish(PUMP, [frame], NOW_MS)
    [ndata] = session.update_node({"Gateway/Machines connected": 1}, NOW_MS)
    [by_npm, node_by_npm] = read_by_npm(find_peer("sparkplug-payload"), [ddata.payload, ndata.payload])
    assert [(metric["name"], metric["value"]) for metric in by_npm["metrics"]] == [
        ("bearing_temperature", 61.7),
        ("running", True),
        ("bearing_temperature", 61.8),
        ("running", False),
    ]
    assert [(metric["name"], metric["value"]) for metric in node_by_npm["metrics"]] == [
        ("Gateway/Machines connected", 1)
    ]


def test_the_first_values_of_a_machine_are_its_birth_and_the_rest_its_first_data() -> None:
    """tck-id-payloads-ddata-order: no DDATA before the DBIRTH, no value twice or left out, oldest first."""
    session = make_session()
    session.birth([], NODE_VALUES, NOW_MS)
    slow = Frame([NOW_MS * 10**6], {"running": [1.0]})
    dbirth, ddata = session.publish(
        PUMP, [slow, make_frame({"bearing_temperature": [1.0, 2.0, 3.0]})], NOW_MS
    )
    assert kinds([dbirth, ddata]) == [f"DBIRTH/pi-01/{PUMP_ID}", f"DDATA/pi-01/{PUMP_ID}"]
    assert {metric.name: metric.value for metric in read(dbirth).metrics} == {
        "running": True,
        "bearing_temperature": 1.0,
    }
    assert [metric.value for metric in read(ddata).metrics] == [2.0, 3.0]


def test_tck_id_topics_ndata_payload() -> None:
    """An NDATA holds the node's values that changed, by alias; without a change there is none."""
    session = born_session()
    assert session.update_node(NODE_VALUES, NOW_MS) == []
    [ndata] = session.update_node({"Gateway/Machines connected": 1}, NOW_MS)
    assert ndata.topic == "spBv1.0/riverside/NDATA/pi-01"
    [metric] = read(ndata).metrics
    assert (metric.name, metric.value) == (None, 1)
    assert read(ndata).seq == 2
    assert session.update_node({"Gateway/Machines connected": 1}, NOW_MS) == []


def test_tck_id_operational_behavior_device_ddeath() -> None:
    """A machine that is lost dies once, with sequence number and time; its old values are no values then."""
    session = born_session()
    [ddeath] = session.bury(PUMP, NOW_MS + 1)
    assert ddeath.topic == f"spBv1.0/riverside/DDEATH/pi-01/{PUMP_ID}"
    assert (read(ddeath).seq, read(ddeath).timestamp, read(ddeath).metrics) == (2, NOW_MS + 1, [])
    assert session.bury(PUMP, NOW_MS + 2) == []
    assert kinds(session.birth([PUMP], NODE_VALUES, NOW_MS)) == ["NBIRTH/pi-01"]


def test_tck_id_topics_ndeath_payload_and_seq() -> None:
    """The NDEATH has the bdSeq metric alone, and no sequence number, npm's decoder agrees."""
    will = make_death(NAMES, 255, None)
    assert will.topic == "spBv1.0/riverside/NDEATH/pi-01"
    [by_npm] = read_by_npm(find_peer("sparkplug-payload"), [will.payload])
    assert not by_npm["hasSeq"]
    assert [(metric["name"], metric["type"], metric["value"]) for metric in by_npm["metrics"]] == [
        ("bdSeq", "Int64", 255)
    ]


def test_npm_reads_births_with_units_and_qualities() -> None:
    """A whole birth, as Node-RED would see it."""
    session = make_session()
    session.observe(PUMP, [PUMP_FRAME])
    nbirth, dbirth = read_by_npm(
        find_peer("sparkplug-payload"),
        [message.payload for message in session.birth([PUMP], NODE_VALUES, NOW_MS)],
    )
    assert {metric["name"]: metric["value"] for metric in nbirth["metrics"]} == {
        "bdSeq": 7,
        "Node Control/Rebirth": False,
        "Properties/Software": "Forewarn",
        "Gateway/Machines connected": 2,
    }
    warm = next(metric for metric in dbirth["metrics"] if metric["name"] == "bearing_temperature")
    assert (warm["type"], warm["value"]) == ("Double", 61.6)
    assert warm["properties"]["engUnit"] == {"type": "String", "value": "°C"}
