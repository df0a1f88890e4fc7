"""OPC UA browse paths as text, `0:Objects/2:Pump/2:Flow`: taken apart, and made names of one server."""

import re
from collections.abc import Sequence

import msgspec

from edge.drivers.opcua.node_ids import NodeIdText, find_namespace

STEPS_MAX = 32
_STEP = re.compile(
    r"(?:nsu=(?P<uri>[^;]+);|(?P<index>\d{1,5}):)?(?P<name>(?:&.|[^/&])+)(?P<next>/|$)", re.DOTALL
)
_OBJECTS = "Objects"
_FORM = "write 0:Objects/nsu=URI;Name/nsu=URI;Name, or 0:Objects/2:Name/2:Name (& before a / in a name)"

Name = tuple[int, str]
"""A browse name on one server: the index of its namespace, and the text."""


class Step(msgspec.Struct, frozen=True):
    """One name of a path: its namespace by URI (lasting) or by index (may shift), and the text."""

    uri: str | None
    index: int | None
    name: str


def parse_browse_path(text: str) -> tuple[Step, ...]:
    """Return the names below the server's Objects folder, with which a path begins; raise ValueError."""
    steps, at, unended = [], 0, False
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None:
            raise ValueError(f"{text!r} is not a browse path at {text[at : at + 20]!r}: {_FORM}")
        index = None if found["index"] is None else int(found["index"])
        name = re.sub(r"&(.)", r"\1", found["name"])
        steps.append(Step(found["uri"], 0 if index is None and found["uri"] is None else index, name))
        at, unended = found.end(), found["next"] == "/"
    if not steps or steps[0] != Step(None, 0, _OBJECTS) or unended:
        raise ValueError(f"{text!r} is not a browse path from Objects on: {_FORM}")
    if not 1 < len(steps) <= STEPS_MAX:
        raise ValueError(
            f"{text!r} has {len(steps) - 1} names below Objects: 1 to {STEPS_MAX - 1} are possible"
        )
    return tuple(steps[1:])


def find_names(steps: Sequence[Step], uris: Sequence[str]) -> list[Name]:
    """Return the path's names on a server with these namespaces; raise `NamespaceMissing`."""
    return [(find_namespace(NodeIdText(step.uri, step.index, step.name), uris), step.name) for step in steps]
