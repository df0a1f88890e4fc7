"""What the outbox has room for, in the words of the log."""

from models.words import say_bytes, say_duration


def describe_room(used_bytes: int, bytes_max: int, bytes_per_s: float) -> str:
    """Say what is kept, and how long it can go on like this."""
    kept = f"{say_bytes(used_bytes)} of {say_bytes(bytes_max)} used"
    if bytes_per_s <= 0:
        return f"keeping values in the outbox: {kept}"
    room = say_duration(max(0, bytes_max - used_bytes) / bytes_per_s)
    return f"keeping values in the outbox: {kept}, room for about {room}"
