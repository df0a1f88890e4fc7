"""Reads a YAML file into its settings class, or names every mistake in it with file, line and column."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from models.errors import ForewarnError
from models.settings.base import Settings

SettingsType = TypeVar("SettingsType", bound=Settings)
Location = tuple[int | str, ...]
_QUOTE = "'"  # pydantic quotes the names in its context


class SettingsError(ForewarnError):
    """The settings are wrong; every line of the message is one mistake and its mend."""

    exit_code = 3


def load_settings(path: Path, kind: type[SettingsType]) -> SettingsType:
    """Return the settings in the YAML file `path`; raise `SettingsError` with all mistakes at once.

    Relative paths in the file are meant from the file's own folder.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is not UTF-8 text (byte {error.start})") from error
    return parse_settings(text, path, kind)


def parse_settings(text: str, path: Path, kind: type[SettingsType]) -> SettingsType:
    """Return the settings in `text`, which is or would be the file `path`; raise as `load_settings` does."""
    document = _read_yaml(text, path)
    try:
        return kind.model_validate(document, context={"folder": path.absolute().parent})
    except ValidationError as error:
        mistakes = [
            _describe(path, document, details, kind) for details in _drop_consequences(error.errors())
        ]
        lines = [words for *_, words in sorted(mistakes, key=lambda mistake: mistake[:2])]
        raise SettingsError("\n".join(lines)) from error


def _read_yaml(text: str, path: Path) -> Any:
    try:
        document = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise SettingsError(f"{where}: not YAML: {str(error.problem).strip()}") from error
    except YAMLError as error:
        raise SettingsError(f"{path}: not YAML: {error}") from error
    if not isinstance(document, Mapping):
        raise SettingsError(f"{path}:1:1: expected keys and values, found {_name_kind(document)}")
    return document


def _drop_consequences(mistakes: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Leave out lists that are too short only because pydantic did not count their wrong entries."""
    places = [details["loc"] for details in mistakes]
    return [
        details
        for details in mistakes
        if details["type"] != "too_short"
        or not any(
            len(place) > len(details["loc"]) and place[: len(details["loc"])] == details["loc"]
            for place in places
        )
    ]


def _describe(path: Path, document: Any, details: ErrorDetails, kind: type[Settings]) -> tuple[int, int, str]:
    """Return line, column, and `file:line:column path: what is wrong. Did you mean ...?` of one mistake."""
    found, line, column, parent = _locate(document, details["loc"])
    dotted = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in found)
    words = f"{dotted.lstrip('.') or 'the file'}: {_word(details, parent, kind)}"
    return line, column, f"{path}:{line}:{column} {words}"


def _locate(document: Any, location: Location) -> tuple[Location, int, int, Any]:
    """Follow `location` as far as the document goes.

    pydantic puts the name of a union's member into a location; what the document does not know is passed
    over, except the last part (a missing key), which stays in the path and stands where its parent stands.
    """
    node: Any = document
    parent: Any = document
    found: list[int | str] = []
    line, column = 0, 0
    for depth, part in enumerate(location):
        inside = _is_inside(node, part)
        if inside:
            line, column = _position(node, part, line, column)
            parent, node = node, node[part]
            found.append(part)
        elif depth == len(location) - 1 and isinstance(part, str) and isinstance(node, Mapping):
            parent = node
            found.append(part)
    return tuple(found), line + 1, column + 1, parent


def _is_inside(node: Any, part: int | str) -> bool:
    if isinstance(node, Mapping):
        return part in node
    return isinstance(node, Sequence) and isinstance(part, int) and 0 <= part < len(node)


def _position(node: Any, part: int | str, line: int, column: int) -> tuple[int, int]:
    """Return where `part` of `node` stands in the file (zero-based), as ruamel.yaml remembers it."""
    marks = getattr(node, "lc", None)
    places = getattr(marks, "data", None) or {}
    if part not in places:
        return line, column
    place = places[part]
    return int(place[0]), int(place[1])


def _word(details: ErrorDetails, parent: Any, kind_of_file: type[Settings]) -> str:
    """Say one mistake in words, with the nearest right spelling where there is one."""
    kind, key = details["type"], str(details["loc"][-1]) if details["loc"] else ""
    context = details.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key.{_suggest(key, _list_unused_keys(kind_of_file, details['loc'][:-1], parent))}"
    if kind == "missing":
        return "is missing."
    if kind == "too_short":
        return f"needs at least {context['min_length']} of them (found {_name_kind(details['input'])})."
    if kind == "union_tag_not_found":
        return f"is missing its key {str(context['discriminator']).strip(_QUOTE)}."
    if kind == "union_tag_invalid":
        known = [word.strip(" '") for word in str(context["expected_tags"]).split(",")]
        named = str(context["discriminator"]).strip(_QUOTE)
        choices = f"{named} {context['tag']!r} is not one of {', '.join(known)}."
        return f"{choices}{_suggest(str(context['tag']), known)}"
    if kind in ("literal_error", "enum"):
        known = [word.strip(" '") for word in str(context["expected"]).replace(" or ", ",").split(",")]
        return (
            f"{details['input']!r} is not one of {', '.join(known)}.{_suggest(str(details['input']), known)}"
        )
    message = details["msg"].removeprefix("Value error, ")
    if kind == "value_error":
        return message
    return f"{message} (found {_name_kind(details['input'])})."


def _suggest(word: str, known: Sequence[str]) -> str:
    near = get_close_matches(word.lower(), known, n=1, cutoff=0.5)
    return (
        f" Did you mean {near[0]}?" if near else f" Known here: {', '.join(sorted(known))}." if known else ""
    )


def _list_unused_keys(root: type[Settings], location: Location, mapping: Any) -> list[str]:
    """Return the keys that the settings class at `location` knows and `mapping` does not use yet."""
    used = set(mapping) if isinstance(mapping, Mapping) else set()
    kinds = _find_kinds(root, location)
    return list(dict.fromkeys(key for kind in kinds for key in kind.model_fields if key not in used))


def _find_kinds(root: type[Settings], location: Location) -> list[type[Settings]]:
    """Follow pydantic's `location` through the classes: keys, places in lists, names of a union's member."""
    kinds = [root]
    for part in location:
        if any(part in kind.model_fields for kind in kinds):
            kinds = [
                found
                for kind in kinds
                if part in kind.model_fields
                for found in _list_kinds_in(kind.model_fields[str(part)].annotation)
            ]
        else:
            kinds = [kind for kind in kinds if _has_member_name(kind, part)] or kinds
    return kinds


def _list_kinds_in(annotation: Any) -> list[type[Settings]]:
    """Return the settings classes that an annotation such as `list[A | B] | None` names."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return [annotation]
    return [kind for inner in get_args(annotation) for kind in _list_kinds_in(inner)]


def _has_member_name(kind: type[Settings], name: int | str) -> bool:
    return any(name in get_args(field.annotation) for field in kind.model_fields.values())


def _name_kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "keys and values"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}" if len(value) else "an empty list"
    return repr(value)
