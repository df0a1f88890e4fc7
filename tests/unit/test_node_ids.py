"""Node ids as people write them, and the nearest ones to a wrong one."""

from uuid import UUID

import pytest

from edge.drivers.opcua.node_ids import (
    NamespaceMissing,
    NodeIdText,
    find_namespace,
    find_nearest,
    parse_node_id,
    write_node_id,
)

GUID = "72962b91-fa75-4ae6-8d28-b404dc7daf63"
SERVER = ["http://opcfoundation.org/UA/", "urn:server", "urn:plant"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nsu=urn:plant;s=pump-7.temp", NodeIdText("urn:plant", None, "pump-7.temp")),
        ("nsu=http://x.example/a=b;i=12", NodeIdText("http://x.example/a=b", None, 12)),
        ('ns=2;s="DB 1"."x;y"', NodeIdText(None, 2, '"DB 1"."x;y"')),
        ("i=2258", NodeIdText(None, 0, 2258)),
        (f"ns=4;g={GUID}", NodeIdText(None, 4, UUID(GUID))),
        ("ns=4;b=AQI=", NodeIdText(None, 4, b"\x01\x02")),
    ],
)
def test_every_form_of_a_node_id_is_read_and_written_again(text: str, expected: NodeIdText) -> None:
    """Namespace by URI or index; text, number, GUID or bytes as identifier."""
    node = parse_node_id(text)
    assert node == expected
    uris = [SERVER[0], "", "urn:plant", "http://x.example/a=b", "urn:four"]
    written = write_node_id(find_namespace(node, uris), node.identifier, uris)
    assert parse_node_id(written).identifier == node.identifier


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("pump-7.temp", "is not a node id: write nsu=URI;s=Name"),
        ("ns=2;x=1", "is not a node id"),
        ("ns=2;i=abc", "'abc' is not a number"),
        ("ns=2;i=4294967296", "outside 0..4294967295"),
        ("ns=70000;i=1", "namespace 70000 is outside"),
        ("ns=2;g=12", "is not a GUID"),
        ("ns=2;b=?", "is not base64"),
    ],
)
def test_a_text_that_is_no_node_id_is_refused_with_the_right_form(text: str, why: str) -> None:
    """The message shows how to write one."""
    with pytest.raises(ValueError, match=why.replace(".", r"\.")):
        parse_node_id(text)


def test_a_namespace_is_found_by_its_uri_wherever_it_stands() -> None:
    """The index is the server's matter, and may be another tomorrow."""
    node = parse_node_id("nsu=urn:plant;s=x")
    assert find_namespace(node, SERVER) == 2
    assert find_namespace(node, [SERVER[0], "urn:plant"]) == 1


def test_a_missing_namespace_names_those_that_there_are() -> None:
    """OPC UA's own namespace is no help and is left out."""
    with pytest.raises(NamespaceMissing, match=r"no namespace 'urn:plent' \(it has urn:server, urn:plant\)"):
        find_namespace(parse_node_id("nsu=urn:plent;s=x"), SERVER)


def test_the_nearest_node_ids_are_those_whose_identifiers_look_alike() -> None:
    """A slip of the pen finds its node, in whatever namespace; what is unlike is not offered."""
    existing = [f"nsu=urn:plant;s=pump-7.{name}" for name in ("bearing_temperature", "flow", "pressure")]
    assert find_nearest("nsu=urn:plant;s=pump7.bearing_temp", existing) == [existing[0]]
    assert find_nearest("ns=9;s=PUMP-7.FLOW", existing) == [existing[1]]
    assert find_nearest("nsu=urn:plant;s=something else", existing) == []
