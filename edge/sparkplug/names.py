"""Sparkplug's names: topics, and the device id of each machine."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from models.telemetry import MachinePath

NAMESPACE = "spBv1.0"
RESERVED = "+/#"  # tck-id-topic-structure-namespace-valid-group-id and its like
ID_CHARS_MAX = 128
SEPARATOR = ":"
REBIRTH = "Node Control/Rebirth"
BDSEQ = "bdSeq"

MessageType = Literal["NBIRTH", "NDATA", "NDEATH", "NCMD", "DBIRTH", "DDATA", "DDEATH"]


class NodeNames(msgspec.Struct, frozen=True):
    """The ids of one edge node, and the topics that follow from them."""

    group: str
    edge_node: str

    def topic(self, kind: MessageType, device: str = "") -> str:
        """Return the topic of a message; those of the node itself name no device."""
        node = f"{NAMESPACE}/{self.group}/{kind}/{self.edge_node}"
        return f"{node}/{device}" if device else node

    def device_id(self, machine: MachinePath) -> str:
        """Return a machine's device id: its path with `:`, without the site where the group says it already.

        A path's segments hold a-z 0-9 _ - only, so two machines never have one id.
        """
        segments = str(machine).split("/")
        return SEPARATOR.join(segments[1:] if machine.site == self.group else segments)


def check_id(text: str) -> str:
    """Return `text` when it may be a group, edge node or host id; raise `ValueError`."""
    reserved = [sign for sign in RESERVED if sign in text]
    if reserved:
        raise ValueError(f"{text[:80]!r} holds {' '.join(reserved)}, which Sparkplug reserves for topics")
    if not (0 < len(text) <= ID_CHARS_MAX and text.isprintable() and text == text.strip()):
        raise ValueError(f"{text[:80]!r} is not 1 to {ID_CHARS_MAX} printable characters")
    return text


def state_topic(host_id: str) -> str:
    """Return where a host application says whether it is there."""
    return f"{NAMESPACE}/STATE/{host_id}"


def choose_group(group: str | None, machines: Iterable[MachinePath]) -> str:
    """Return the group id: the one that is set, else the site of all machines; raise `ValueError`."""
    if group is not None:
        return group
    sites = sorted({machine.site for machine in machines})
    if len(sites) != 1:
        raise ValueError(
            f"these machines stand at {len(sites)} sites ({', '.join(sites[:5])}), and the site is the "
            "Sparkplug group id: set sparkplug.group"
        )
    return sites[0]


def check_letter_case(machine: MachinePath, tags: Iterable[str]) -> None:
    """Raise `ValueError` where hosts that take `Temp` for `temp` would mix two tags of a machine up."""
    seen: dict[str, str] = {}
    for tag in tags:
        other = seen.setdefault(tag.casefold(), tag)
        if other != tag:
            raise ValueError(
                f"{machine} has tags {other!r} and {tag!r}, which differ in upper and lower case only, and "
                "Sparkplug hosts may take one for the other: rename one"
            )
