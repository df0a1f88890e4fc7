"""Browse paths as text: taken apart, resolved, and every slip answered with the form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.drivers.opcua.browse_paths import Step, find_names, parse_browse_path
from edge.drivers.opcua.node_ids import NamespaceMissing
from edge.drivers.opcua.settings import OpcuaTagSettings

URIS = ["http://opcfoundation.org/UA/", "urn:server", "http://opcfoundation.org/UA/Machinery/", "urn:plant"]


def test_a_path_is_taken_apart_and_resolved() -> None:
    """Names by index and by URI, slashes in URIs and, after &, in names."""
    steps = parse_browse_path(
        "0:Objects/nsu=http://opcfoundation.org/UA/Machinery/;Machines/3:Pump &&1/3:m&/s"
    )
    assert find_names(steps, URIS) == [(2, "Machines"), (3, "Pump &1"), (3, "m/s")]
    assert parse_browse_path("Objects/Server") == (Step(None, 0, "Server"),)


def test_a_namespace_that_is_not_there_is_named() -> None:
    """As with node ids."""
    with pytest.raises(NamespaceMissing, match="has no namespace 'urn:plent'"):
        find_names(parse_browse_path("0:Objects/nsu=urn:plent;Pump"), URIS)


@pytest.mark.parametrize(
    "text",
    ["", "Pump/Flow", "0:Objects", "0:Objects/", "0:Objects//2:Flow", "2:Objects/2:Flow", "0:Objects/2:a&"],
)
def test_a_slip_is_answered_with_the_form(text: str) -> None:
    """What is no path from Objects on is refused before any server is asked."""
    with pytest.raises(ValueError, match=r"write 0:Objects/nsu=URI;Name|1 to 31 are possible"):
        parse_browse_path(text)


@given(st.lists(st.tuples(st.integers(0, 65_535), st.text(min_size=1, max_size=9)), min_size=1, max_size=20))
def test_any_names_can_be_written(names: list[tuple[int, str]]) -> None:
    """Whatever a server calls its nodes, escaped with & it is read again."""
    written = "/".join(f"{index}:{text.replace('&', '&&').replace('/', '&/')}" for index, text in names)
    assert [(one.index, one.name) for one in parse_browse_path(f"0:Objects/{written}")] == names


def test_a_name_may_end_in_a_slash() -> None:
    """An escaped slash at the end belongs to the last name; a bare one is a slip."""
    assert parse_browse_path("0:Objects/2:A&/")[-1].name == "A/"


@pytest.mark.parametrize(
    "more", [{}, {"node_id": "i=2258", "browse_path": "0:Objects/2:Flow"}, {"browse_path": "2:Flow"}]
)
def test_a_tag_has_one_address(more: dict[str, str]) -> None:
    """A node id or a path, never both, never neither, never a wrong one."""
    with pytest.raises(ValueError, match=r"say either node_id or browse_path|is not a browse path"):
        OpcuaTagSettings.model_validate({"name": "flow"} | more)
