"""OPC UA node ids as text: taken apart, resolved to a server's namespaces, and the nearest ones found."""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from uuid import UUID

import msgspec

_FORM = re.compile(r"(?:nsu=(?P<uri>[^;]+);|ns=(?P<index>\d{1,5});)?(?P<kind>[isgb])=(?P<rest>.+)", re.DOTALL)
_UINT32_MAX = 2**32 - 1
_UINT16_MAX = 2**16 - 1
NEAREST_MAX = 3
LIKENESS_MIN = 0.6
NAMESPACES_SHOWN_MAX = 5

Identifier = int | str | UUID | bytes

Node = tuple[int, Identifier]
"""The index of a namespace on one server, and the identifier in it."""


class NodeIdText(msgspec.Struct, frozen=True):
    """A node id: the namespace by URI (lasting) or by index (may shift at a restart), and the identifier."""

    uri: str | None
    index: int | None
    identifier: Identifier


class NamespaceMissing(ValueError):
    """The server has no namespace of this URI."""


def parse_node_id(text: str) -> NodeIdText:
    """Return the parts of `nsu=URI;s=Name`, `ns=2;i=1001`, `i=2258` ...; raise ValueError saying the mend."""
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise ValueError(
            f"{text!r} is not a node id: write nsu=URI;s=Name, or ns=2;s=Name, with s= (text), i= (number), "
            "g= (GUID) or b= (base64)"
        )
    index = None if found["index"] is None else int(found["index"])
    if index is not None and index > _UINT16_MAX:
        raise ValueError(f"{text!r}: namespace {index} is outside 0..{_UINT16_MAX}")
    if found["uri"] is None and index is None:
        index = 0
    return NodeIdText(found["uri"], index, _parse_identifier(found["kind"], found["rest"], text))


def _parse_identifier(kind: str, rest: str, text: str) -> Identifier:
    if kind == "s":
        return rest
    try:
        if kind == "g":
            return UUID(rest)
        if kind == "b":
            return b64decode(rest, validate=True)
        number = int(rest)
    except (ValueError, Base64Error):
        words = {"i": "a number", "g": "a GUID", "b": "base64"}
        raise ValueError(f"{text!r}: {rest!r} is not {words[kind]}, as {kind}= says") from None
    if not 0 <= number <= _UINT32_MAX:
        raise ValueError(f"{text!r}: {number} is outside 0..{_UINT32_MAX}")
    return number


def find_namespace(node: NodeIdText, uris: Sequence[str]) -> int:
    """Return the index of the node's namespace in the server's table; raise `NamespaceMissing`."""
    if node.uri is None:
        assert node.index is not None  # parse_node_id saw to it
        return node.index
    if node.uri in uris:
        return uris.index(node.uri)
    own = uris[1:]  # the first is OPC UA's
    known = ", ".join(own[:NAMESPACES_SHOWN_MAX]) + (", ..." if len(own) > NAMESPACES_SHOWN_MAX else "")
    raise NamespaceMissing(f"the server has no namespace {node.uri!r} (it has {known or 'none of its own'})")


def write_node_id(index: int, identifier: Identifier, uris: Sequence[str]) -> str:
    """Return a node id in the lasting form, by the URI of its namespace."""
    kinds = {str: "s", int: "i", UUID: "g", bytes: "b"}
    kind = next((letter for of, letter in kinds.items() if isinstance(identifier, of)), "s")
    text = b64encode(identifier).decode() if isinstance(identifier, bytes) else str(identifier)
    if index == 0:
        return f"{kind}={text}"
    return f"nsu={uris[index]};{kind}={text}" if index < len(uris) else f"ns={index};{kind}={text}"


def find_nearest(wanted: str, existing: Iterable[str]) -> list[str]:
    """Return up to three of the `existing` node ids that look most like `wanted`, the nearest first.

    Only identifiers are compared: namespaces are long and alike, and would make all of a server's nodes near.
    """
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(_take_identifier(wanted))
    likeness: list[tuple[float, str]] = []
    for name in existing:
        matcher.set_seq1(_take_identifier(name))
        if matcher.real_quick_ratio() >= LIKENESS_MIN and matcher.quick_ratio() >= LIKENESS_MIN:
            likeness.append((matcher.ratio(), name))
    likeness.sort(key=lambda near: (-near[0], near[1]))
    best = likeness[0][0] if likeness else 0.0
    return [name for ratio, name in likeness[:NEAREST_MAX] if ratio >= max(LIKENESS_MIN, best - 0.1)]


def _take_identifier(text: str) -> str:
    return text.partition(";")[2].casefold() or text.casefold()
