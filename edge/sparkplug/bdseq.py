"""The birth/death sequence number: one more at each MQTT CONNECT, 0 after 255, kept over restarts."""

import os
from pathlib import Path

import structlog

NUMBERS = 256

log = structlog.get_logger()


class BirthDeathSequence:
    """Counts in a file of its own. A disk that takes nothing is said once, and counted on in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: int | None = None
        self._failing = False

    def take_next(self) -> int:
        """Return the number for the CONNECT that follows; 0 where none was ever taken."""
        if self._last is None:
            self._last = self._read()
        self._last = (self._last + 1) % NUMBERS
        self._write(self._last)
        return self._last

    def _read(self) -> int:
        """Return the last number that was taken, -1 for none."""
        try:
            text = self._path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return -1
        except (OSError, UnicodeDecodeError) as error:
            self._say(f"{self._path} cannot be read ({error})")
            return -1
        if text.isdecimal() and int(text) < NUMBERS:
            return int(text)
        self._say(f"{self._path} holds {text[:20]!r}, not a number from 0 to 255")
        return -1

    def _write(self, number: int) -> None:
        beside = self._path.with_name(f"{self._path.name}.new")
        try:
            with beside.open("w", encoding="ascii") as file:
                file.write(f"{number}\n")
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._path)
        except OSError as error:
            self._say(f"{self._path} cannot be written ({error})")

    def _say(self, reason: str) -> None:
        if not self._failing:
            self._failing = True
            log.warning(
                "bdseq_not_kept",
                reason=reason,
                mend="let the gateway write there: hosts may else take a late NDEATH for a new one",
            )
