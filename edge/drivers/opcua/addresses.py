"""Finds the nodes of tags on a server, by node id or browse path, and what is near those not there."""

from collections.abc import Sequence
from functools import partial

import msgspec

from edge.drivers.opcua.browse_paths import Name, find_names
from edge.drivers.opcua.browsing import walk
from edge.drivers.opcua.client import OpcuaSession
from edge.drivers.opcua.node_ids import NamespaceMissing, Node, find_namespace, find_nearest, write_node_id
from edge.drivers.opcua.nodes import browse, follow_paths
from edge.drivers.opcua.settings import OpcuaTagSettings


class Addresses(msgspec.Struct, frozen=True):
    """The nodes of tags; why tags are `lost`; which are written with an index, and the lasting form."""

    nodes: dict[str, Node] = {}
    lost: dict[str, str] = {}
    by_index: dict[str, list[str]] = {}
    """Why a namespace should not be named by its index, and the tags that do it."""


async def find_addresses(session: OpcuaSession, tags: Sequence[OpcuaTagSettings]) -> Addresses:
    """Return where the tags' nodes are on this server, as it is now."""
    found = Addresses()
    paths: dict[str, list[Name]] = {}
    for tag in tags:
        indexes = [step.index for step in tag.steps] if tag.browse_path else [tag.node.index]
        for index in dict.fromkeys(filter(None, indexes)):
            found.by_index.setdefault(_say_by_index(tag, index, session.namespaces), []).append(tag.name)
        try:
            if tag.browse_path is not None:
                paths[tag.name] = find_names(tag.steps, session.namespaces)
            else:
                found.nodes[tag.name] = find_namespace(tag.node, session.namespaces), tag.node.identifier
        except NamespaceMissing as error:
            found.lost[tag.name] = str(error)
    ends = await follow_paths(session, list(paths.values()))
    for name, nodes in zip(paths, ends, strict=True):
        if len(nodes) == 1:
            found.nodes[name] = nodes[0]
        else:
            told = [write_node_id(*node, session.namespaces) for node in nodes]
            found.lost[name] = f"the path leads to {' and '.join(told) or 'no node'}"
    return found


def _say_by_index(tag: OpcuaTagSettings, index: int, uris: Sequence[str]) -> str:
    form = f"{index}:" if tag.browse_path else f"ns={index}"
    lasting = f"nsu={uris[index]}{';' if tag.browse_path else ''}" if index < len(uris) else ""
    mend = f"write {lasting} instead of {form}" if lasting else "the server has no such index"
    return f"{form}: an index can shift when the server changes; {mend}"


async def find_near(session: OpcuaSession, tags: Sequence[OpcuaTagSettings]) -> dict[str, str]:
    """Return what the server has that looks like the address of each of the tags, as a question."""
    places = (await walk(partial(browse, session), session.namespaces)).variables
    ids = [write_node_id(*place.node, session.namespaces) for place in places]
    by_path = {"/".join(place.path): node_id for place, node_id in zip(places, ids, strict=True)}
    told = {}
    for tag in tags:
        if tag.browse_path is not None:
            near = find_nearest("/".join(step.name for step in tag.steps), by_path)
            near = [f"{path} ({by_path[path]})" for path in near]
        else:
            near = find_nearest(tag.node_id or "", ids)
        told[tag.name] = f"did you mean {' or '.join(near)}?" if near else "nothing there looks like it"
    return told
