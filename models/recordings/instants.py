"""Times as people and loggers write them, to the nanosecond; what has two meanings is refused. Pure."""

import re
from datetime import UTC, datetime

NS_PER_S = 1_000_000_000
EARLIEST_NS = 94_694_400 * NS_PER_S
"""1973: an earlier time is one of a clock that was never set, or a count of something else."""
LATEST_NS = 2**63 - 1

_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)"
    r"(?:[Tt ](\d\d:\d\d(?::\d\d)?)(?:(?<=:\d\d:\d\d)[.,](\d{1,9})\d*)? ?([Zz]|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)
_COUNT = re.compile(r"(\d{1,19})(?:\.(\d+))?", re.ASCII)
# Each unit's counts are a thousand times the last's: a time from 1973 to 2262 has one unit only.
_COUNT_SCALES = ((10**11, NS_PER_S), (10**14, 1_000_000), (10**17, 1_000), (10**19, 1))
_COMPACT_DATE = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:\d{6})?", re.ASCII)
_DAY_OR_MONTH = re.compile(r"\d{1,4}[/.\-]\d{1,2}[/.\-]\d{1,4}\b.*")
_TIME_OF_DAY = re.compile(r"\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?")
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # two times of UTC without their zone subtract faster


class NotAnInstant(ValueError):
    """The text is no time that can be meant in one way only; the message says why, and the mend."""


def parse_instant(text: str, earliest_ns: int = EARLIEST_NS) -> int:
    """Return nanoseconds since 1970 of ISO 8601 (UTC where no zone is said), or of a count since 1970.

    A count is one of seconds, milliseconds, microseconds or nanoseconds by its size, and may have decimals.
    Digits beyond the nanosecond are cut off. Raises `NotAnInstant`, for times before `earliest_ns` too.
    """
    text = text.strip()
    if (iso := _ISO.fullmatch(text)) is not None:
        instant = _count_iso(text, iso)
    elif (count := _COUNT.fullmatch(text)) is not None and _COMPACT_DATE.fullmatch(text) is None:
        instant = _scale_count(count[1], count[2] or "")
    else:
        raise NotAnInstant(f"{text[:80]!r} is not a time: {_find_mend(text)}")
    if not earliest_ns <= instant <= LATEST_NS:
        first = 1970 + earliest_ns // (365 * 86_400 * NS_PER_S)
        mend = "the clock was not set, or the column is no time" if instant < earliest_ns else "mend the line"
        raise NotAnInstant(f"{text[:80]!r} is not between {first} and 2262: {mend}")
    return instant


def _count_iso(text: str, iso: re.Match[str]) -> int:
    day, clock, fraction, zone = iso.groups()
    try:
        if zone is None or zone in "Zz":
            moment = datetime.fromisoformat(f"{day}T{clock}" if clock else day)
        else:
            aware = datetime.fromisoformat(f"{day}T{clock}{zone}")
            moment = aware.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError) as error:
        raise NotAnInstant(f"{text[:80]!r} is not a time: {error}") from error
    delta = moment - _EPOCH
    # datetime stops at microseconds without a word: the fraction is counted here.
    return (delta.days * 86_400 + delta.seconds) * NS_PER_S + (int(fraction.ljust(9, "0")) if fraction else 0)


def _scale_count(whole: str, decimals: str) -> int:
    number = int(whole)
    scale = next(scale for limit, scale in _COUNT_SCALES if number < limit)
    return number * scale + int(decimals[:9].ljust(9, "0")) * scale // NS_PER_S


def _find_mend(text: str) -> str:
    if _TIME_OF_DAY.fullmatch(text):
        return "its date stands elsewhere: join the two columns into one, as 2026-11-23T08:00:00Z"
    if _DAY_OR_MONTH.fullmatch(text) or _COMPACT_DATE.fullmatch(text):
        return "it can be meant in several ways: write 2026-11-23T08:00:00Z"
    return "write 2026-11-23T08:00:00Z, or nanoseconds since 1970"
