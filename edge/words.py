"""Amounts and spans in the words of the log."""

_BYTE_STEPS = ((1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB"))
_SPAN_STEPS = ((86_400, "days"), (3_600, "h"), (60, "min"))


def describe_bytes(count: float) -> str:
    """Return `12 MB` for 12_300_000."""
    for size, unit in _BYTE_STEPS:
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} bytes"


def describe_span(seconds: float) -> str:
    """Return `12 s`, `3 min`, `5 h` or `9 days`."""
    for size, unit in _SPAN_STEPS:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"


def describe_room(used_bytes: int, bytes_max: int, bytes_per_s: float) -> str:
    """Say what is kept, and how long it can go on like this."""
    kept = f"{describe_bytes(used_bytes)} of {describe_bytes(bytes_max)} used"
    if bytes_per_s <= 0:
        return f"keeping values in the outbox: {kept}"
    room = describe_span(max(0, bytes_max - used_bytes) / bytes_per_s)
    return f"keeping values in the outbox: {kept}, room for about {room}"
