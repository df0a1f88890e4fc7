"""Durations, amounts and instants as people say them."""

import pytest

from models.recordings import parse_instant
from models.words import say_bytes, say_duration, say_instant


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.125, "0.125 s"),
        (0.5, "0.5 s"),
        (9.998, "10 s"),
        (12.4, "12 s"),
        (89.0, "89 s"),
        (180.0, "3 min"),
        (200.0, "3 min"),
        (7_200.0, "2 h"),
        (7_500.0, "2 h 5 min"),
        (18_000.0, "5 h"),
        (260_000.0, "3 days"),
        (777_600.0, "9 days"),
    ],
)
def test_durations_have_the_unit_that_fits(seconds: float, words: str) -> None:
    """Two units at most, and no digits that nobody needs."""
    assert say_duration(seconds) == words


def test_amounts_have_three_digits() -> None:
    """From single bytes to gigabytes."""
    assert [say_bytes(count) for count in (12, 1_500, 12_300_000, 10**9)] == [
        "12 bytes",
        "1.5 kB",
        "12.3 MB",
        "1 GB",
    ]


def test_an_instant_that_is_said_can_be_typed_again() -> None:
    """The commands' `--from` and `--to` read what the messages say."""
    assert say_instant(1_795_420_800_999_999_999) == "2026-11-23T08:00:00Z"
    assert parse_instant(say_instant(1_795_420_800_999_999_999)) == 1_795_420_800_000_000_000
