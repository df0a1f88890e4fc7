"""Puts tags that were picked from a list into the settings of a gateway."""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from edge.commands.tag_lists import TagListRejected, TagRow, describe_security, make_entries, write_tag
from edge.settings import EdgeSettings
from models.settings.editing import Edit, append_item, edit_settings, parse_flow

_LOGIN = ("security", "user", "password", "user_certificate", "allow_insecure")


def plan_import(rows: Sequence[TagRow], file: Path) -> Edit:
    """Return the change of `file` that adds the tags; raise when it would not be right.

    A tag that its machine reads already is left alone. A machine that is new logs in as another machine of
    the same server does, or by what the list says.
    """
    return edit_settings(file, EdgeSettings, lambda document: _add_machines(document["machines"], rows))


def _add_machines(machines: Any, rows: Sequence[TagRow]) -> None:
    known = {str(machine["path"]): machine for machine in machines}
    for path, tags in make_entries(rows).items():
        machine = known.get(path)
        if machine is None:
            machines.append(_make_machine(path, tags, machines))
        else:
            _add_tags(machine, path, tags)


def _add_tags(machine: Any, path: str, rows: Sequence[TagRow]) -> None:
    if machine["kind"] != "opcua" or str(machine["url"]) != rows[0].url:
        where = f"{machine['kind']} {machine.get('url', '')}".strip()
        raise TagListRejected(
            f"{path} is read by {where} and the list's tags are of {rows[0].url}: "
            "name another machine in the list"
        )
    nodes = {str(tag.get("node_id")): str(tag["name"]) for tag in machine["tags"]}
    for row in rows:
        if row.node_id not in nodes:
            append_item(machine["tags"], parse_flow(write_tag(row)))


def _make_machine(path: str, rows: Sequence[TagRow], machines: Any) -> Any:
    first = rows[0]
    other = {row.url for row in rows} - {first.url}
    if other:
        raise TagListRejected(
            f"{path}: its tags are of {first.url} and of {other.pop()}: a machine has one url"
        )
    machine = parse_flow("path: x\nkind: opcua\nurl: x\n")
    machine["path"], machine["url"] = path, first.url
    like = next((one for one in machines if str(one.get("url")) == first.url), None)
    if like is None:
        machine.update(parse_flow(describe_security(first.security)))
    else:
        machine.update({key: deepcopy(like[key]) for key in _LOGIN if key in like})
    machine["tags"] = parse_flow("\n".join(f"- {write_tag(row)}" for row in rows))
    return machine
