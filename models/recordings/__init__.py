"""Recordings of machines as CSV files, a column of times and one per tag: read in bounded parts, strictly."""

from models.recordings.instants import EARLIEST_NS, LATEST_NS, NotAnInstant, parse_instant
from models.recordings.reader import Part, read_parts
from models.recordings.rejection import RecordingRejected

__all__ = [
    "EARLIEST_NS",
    "LATEST_NS",
    "NotAnInstant",
    "Part",
    "RecordingRejected",
    "parse_instant",
    "read_parts",
]
