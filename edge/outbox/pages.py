"""Finds batches in the bare pages of a damaged SQLite file, without the tree that should lead to them.

The file format: https://www.sqlite.org/fileformat2.html, sections 1.5 (free pages), 1.6, 2.1.
"""

from collections.abc import Iterator
from contextlib import suppress

PAGE_BYTES = 4_096
HEADER_BYTES = 100
LEAF = 0x0D
COLUMNS = 7
_INTEGER_BYTES = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0}

Found = tuple[int, str, int, bytes]


class NotARow(ValueError):
    """These bytes are no batch: go on with the next."""


def find_batches(file: bytes) -> Iterator[Found]:
    """Yield (sequence, machine, checksum, payload) of whatever looks like one, from any table leaf in use."""
    free = _list_free(file)
    for page in range(len(file) // PAGE_BYTES):
        if page + 1 in free:  # what lies there was let go of
            continue
        start = page * PAGE_BYTES
        head = start + (HEADER_BYTES if page == 0 else 0)
        if file[head] != LEAF:
            continue
        cells = min(_number(file, head + 3, 2), PAGE_BYTES // 4)
        for cell in range(cells):
            with suppress(NotARow, IndexError, UnicodeDecodeError):
                yield _read_cell(file, start, start + _number(file, head + 8 + 2 * cell, 2))


def _list_free(file: bytes) -> set[int]:
    """Return the pages that hold nothing any more, counted from 1; none where their list is damaged.

    Batches that were delivered may be found again then: better than to pass over one that was not.
    """
    free: list[int] = []
    pages = len(file) // PAGE_BYTES
    trunk, count = (_number(file, 32, 4), _number(file, 36, 4)) if pages else (0, 0)
    while 1 < trunk <= pages and len(free) < count:
        start = (trunk - 1) * PAGE_BYTES
        leaves = min(_number(file, start + 4, 4), PAGE_BYTES // 4 - 2)
        free += [trunk, *(_number(file, start + 8 + 4 * leaf, 4) for leaf in range(leaves))]
        trunk = _number(file, start, 4)
    found = set(free)
    is_sound = len(free) == len(found) == count and trunk == 0 and all(1 < page <= pages for page in free)
    return found if is_sound else set()


def _read_cell(file: bytes, start: int, at: int) -> Found:
    size, at = _varint(file, at)
    sequence, at = _varint(file, at)
    if size > len(file):
        raise NotARow
    local = _count_local(size)
    if at + local > start + PAGE_BYTES:
        raise NotARow
    record = file[at : at + local]
    if local < size:
        record += _read_overflow(file, _number(file, at + local, 4), size - local)
    return (sequence, *_read_record(record))


def _count_local(size: int) -> int:
    """Return how much of a record lies on the leaf itself."""
    if size <= PAGE_BYTES - 35:
        return size
    least = (PAGE_BYTES - 12) * 32 // 255 - 23
    local = least + (size - least) % (PAGE_BYTES - 4)
    return local if local <= PAGE_BYTES - 35 else least


def _read_overflow(file: bytes, page: int, size: int) -> bytes:
    parts: list[bytes] = []
    while size > 0:
        start = (page - 1) * PAGE_BYTES
        if page < 1 or start + PAGE_BYTES > len(file):
            raise NotARow
        part = file[start + 4 : start + 4 + min(size, PAGE_BYTES - 4)]
        parts.append(part)
        size -= len(part)
        page = _number(file, start, 4)
    return b"".join(parts)


def _read_record(record: bytes) -> tuple[str, int, bytes]:
    head_bytes, at = _varint(record, 0)
    kinds: list[int] = []
    while at < head_bytes:
        kind, at = _varint(record, at)
        kinds.append(kind)
    if len(kinds) != COLUMNS:
        raise NotARow
    columns: list[bytes] = []
    for kind in kinds:
        size = (kind - 12) // 2 if kind >= 12 else _INTEGER_BYTES.get(kind, -1)
        if size < 0 or at + size > len(record):
            raise NotARow
        columns.append(record[at : at + size])
        at += size
    checksum = 1 if kinds[5] == 9 else int.from_bytes(columns[5], "big")
    return columns[1].decode(), checksum, columns[6]


def _number(file: bytes, at: int, size: int) -> int:
    return int.from_bytes(file[at : at + size], "big")


def _varint(file: bytes, at: int) -> tuple[int, int]:
    value = 0
    for length in range(1, 9):
        byte = file[at + length - 1]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + length
    return value << 8 | file[at + 8], at + 9
