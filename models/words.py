"""Spans, amounts and instants in the words of every log, mail and command. Pure."""

from datetime import UTC, datetime

_BYTE_STEPS = ((1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB"))


def say_duration(seconds: float) -> str:
    """Return a duration as people say it: `0.5 s`, `12 s`, `3 min`, `2 h 5 min`, `3 days`."""
    if seconds < 90:
        return f"{seconds:.3g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{round(seconds / 86_400)} days"


def say_bytes(count: float) -> str:
    """Return `12.3 MB` for 12_300_000."""
    for size, unit in _BYTE_STEPS:
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} bytes"


def say_instant(timestamp_ns: int) -> str:
    """Return nanoseconds since 1970 as `2026-11-23T02:00:00Z`, which the commands take for a time too."""
    return datetime.fromtimestamp(timestamp_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
