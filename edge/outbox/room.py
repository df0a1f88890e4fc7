"""Room on the disk for the outbox: how large its files may grow, and a ballast to give up on a full disk."""

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import structlog

from models.words import say_bytes

BALLAST_BYTES = 512 * 1024
LOG_PAGES_MAX = 256
LOG_BYTES_KEPT_MAX = 4_194_304
FILE_BYTES_SPARE = 16_777_216
PAGE_BYTES = 4_096
PAGES_PER_PUT = 8  # the tables' roots and totals, which every put writes

log = structlog.get_logger()


def bound_files(connection: sqlite3.Connection, bytes_max: int) -> None:
    """Keep database and write-ahead log from growing without end, whatever the settings promise."""
    page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
    # SQLite's default of 1,000 pages lets the log alone fill a small disk.
    connection.execute(f"PRAGMA wal_autocheckpoint={LOG_PAGES_MAX}")
    connection.execute(f"PRAGMA journal_size_limit={LOG_BYTES_KEPT_MAX}")
    # A payload of just over half a page takes a whole one, so files reach twice the payloads' bytes.
    connection.execute(f"PRAGMA max_page_count={(2 * bytes_max + FILE_BYTES_SPARE) // page_bytes}")


def count_pages(payload_sizes: Iterable[int]) -> int:
    """Return how many pages of the file a put of such payloads takes at most."""
    return PAGES_PER_PUT + sum(2 + size // PAGE_BYTES for size in payload_sizes)


class Ballast:
    """A file beside the outbox that only holds space.

    SQLite writes before it deletes, so on a full disk it cannot delete what would make room. Without the
    ballast it can, until the disk has room again and the ballast is put back.
    """

    def __init__(self, outbox: Path, size: int = BALLAST_BYTES) -> None:
        self.path = outbox.with_name(f"{outbox.name}.ballast")
        self.size = size
        self.is_stowed = False
        self._was_missed = False

    def stow(self) -> bool:
        """Put the ballast there unless it is; return whether it is. Twice its size must be free."""
        if not self.is_stowed:
            try:
                self.is_stowed = self._holds_space() or self._write()
            except OSError:
                self.path.unlink(missing_ok=True)
            if self.is_stowed and self._was_missed:
                self._was_missed = False
                log.info("outbox_ballast_back", file=str(self.path))
        return self.is_stowed

    def jettison(self) -> None:
        """Give its space to the disk; a read-only disk keeps it."""
        self.is_stowed = False
        try:
            self.path.unlink(missing_ok=True)
        except OSError:
            return
        if not self._was_missed:
            self._was_missed = True
            log.warning(
                "outbox_ballast_removed",
                reason=f"the disk is full; {say_bytes(self.size)} were kept back for this",
                mend=f"make room on the disk of {self.path.parent}; the ballast then comes back by itself",
            )

    def _holds_space(self) -> bool:
        return self.path.is_file() and self.path.stat().st_blocks * 512 >= self.size

    def _write(self) -> bool:
        disk = os.statvfs(self.path.parent)
        if disk.f_bavail * disk.f_frsize < 2 * self.size:
            return False
        with self.path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, self.size)
        return True
