"""Reads the running console as any other program could: its JSON API over HTTP."""

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

TIMEOUT_S = 5.0


class Console:
    """The JSON API of the console at `url`. A question that it does not answer now returns None."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, **query: object) -> Any:
        """Return the JSON answer to GET /api/v1/`path`, or None when there is none now."""
        words = urllib.parse.urlencode(query)
        address = f"{self.url}/api/v1/{path}{'?' if words else ''}{words}"
        try:
            with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer:  # noqa: S310  # our own loopback URL
                return json.load(answer)
        except (urllib.error.URLError, ConnectionError, TimeoutError, ValueError):
            return None

    def count_speaking_machines(self, since_ms: float) -> int:
        """Return how many machines have a value newer than `since_ms` (milliseconds since 1970)."""
        overview = self.ask("overview") or {"machines": []}
        return sum((machine["newest_ms"] or 0) > since_ms for machine in overview["machines"])

    def find_threshold_crossing_ms(self, machine: str, from_ms: int, to_ms: int) -> tuple[float, str] | None:
        """Return when a stored value first reached its tag's fixed limit, and which tag; None if never."""
        charts = self.ask(f"machines/{machine}/charts", points=2000, **{"from": from_ms, "to": to_ms})
        crossings = [
            (at_ms, tag["title"] or tag["tag"])
            for tag in (charts or {"tags": []})["tags"]
            if tag["high"] is not None
            for at_ms, value in zip(tag["line"]["times_ms"], tag["line"]["values"], strict=True)
            if value is not None and value >= tag["high"]
        ]
        return min(crossings, default=None)
