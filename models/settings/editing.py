"""Changes a settings file as a person would: comments, order and quoting stay as they are."""

import io
import os
import tempfile
from collections.abc import Callable, Mapping
from difflib import unified_diff
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import CommentMark
from ruamel.yaml.tokens import CommentToken

from models.settings.loader import SettingsError, SettingsType, load_settings, parse_settings

_WIDTH_MAX = 10_000  # or long lines would be folded


class Edit:
    """A change of one settings file that has been checked and not yet been written."""

    def __init__(self, path: Path, before: str, after: str) -> None:
        self._path = path
        self._before = before
        self._after = after

    @property
    def difference(self) -> str:
        """What would change, as a unified diff; empty when nothing would."""
        before, after = self._before.splitlines(keepends=True), self._after.splitlines(keepends=True)
        return "".join(unified_diff(before, after, str(self._path), f"{self._path} (new)"))

    def write(self) -> None:
        """Put the new text in place of the old at once; raise `SettingsError` where that cannot be."""
        try:
            if self._path.read_text(encoding="utf-8") != self._before:
                raise SettingsError(f"{self._path}: has been changed meanwhile: try again")
            mode = self._path.stat().st_mode
            number, name = tempfile.mkstemp(dir=self._path.absolute().parent, prefix=f".{self._path.name}.")
            with os.fdopen(number, "w", encoding="utf-8") as file:
                file.write(self._after)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(mode)
            Path(name).replace(self._path.resolve())
        except OSError as error:
            raise SettingsError(f"{self._path}: cannot be written ({error.strerror})") from error


def edit_settings(path: Path, kind: type[SettingsType], change: Callable[[Any], None]) -> Edit:
    """Return what `change` makes of the file's document; raise `SettingsError` when that would be wrong.

    `change` gets the document as nested dicts and lists, and alters it in place.
    """
    load_settings(path, kind)
    before = path.read_text(encoding="utf-8")
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = _WIDTH_MAX
    document = yaml.load(before)
    untouched = _dump(yaml, document, before)
    change(document)
    changed = _dump(yaml, document, before)
    after = before if changed == untouched else changed
    parse_settings(after, path, kind)
    return Edit(path, before, after)


def parse_flow(text: str) -> Any:
    """Return one line of YAML such as `{name: flow, unit: A}` as it would stand in a file."""
    return YAML(typ="rt").load(text)


def append_item(items: Any, item: Any) -> None:
    """Append to a list of a document; a comment that stands before what follows the list stays there."""
    tail = _take_tail(items)
    items.append(item)
    if tail:
        items.ca.items[len(items) - 1] = [CommentToken(f"\n{tail}", CommentMark(0)), None, None, None]


def _take_tail(items: Any) -> str:
    """Take away and return the lines behind the list's last item that are not indented as its items are."""
    holder, key = items, len(items) - 1
    while (tokens := holder.ca.items.get(key)) is None:
        holder = holder[key]
        if not isinstance(holder, Mapping) or not holder:
            return ""
        key = list(holder)[-1]
    token = next(token for token in tokens if token is not None)
    first, *lines = token.value.splitlines(keepends=True)
    own = takewhile(lambda line: line.lstrip().startswith("#") and _indent(line) >= items.lc.col, lines)
    kept = [first, *own]
    token.value = "".join(kept)
    if not token.value.strip():
        del holder.ca.items[key]
    return "".join(lines[len(kept) - 1 :])


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _dump(yaml: YAML, document: Any, before: str) -> str:
    """Write the document, its lists indented as in the text before."""
    lines = before.splitlines()
    dashes = [
        _indent(line) - _indent(above)
        for above, line in pairwise(lines)
        if line.lstrip().startswith("- ") and above.split("#")[0].rstrip().endswith(":")
    ]
    offset = dashes[0] if dashes else 2
    yaml.indent(mapping=2, sequence=offset + 2, offset=offset)
    out = io.StringIO()
    yaml.dump(document, out)
    return out.getvalue()
