"""Topics, paths, receipts, status and ranges: the small parts of the wire."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.telemetry import (
    BatchTopic,
    DroppedRange,
    MachinePath,
    MachineStatus,
    Receipt,
    SequenceRanges,
    Status,
    StatusTopic,
    TopicRejected,
    Topics,
    decode_receipt,
    decode_status,
    encode_receipt,
    encode_status,
    quality,
)
from models.telemetry.receipt import ReceiptRejected
from models.telemetry.status import StatusRejected

GOLDEN = Path(__file__).parent.parent / "golden"
PUMP = MachinePath("riverside", "hall-1", "water", "pump-7")
EPOCH = "9f2c0011aabbccdd9f2c0011aabbccdd"
RECEIPT = Receipt(1, EPOCH, [(1, 8811), (8815, 8815)], [(8812, 8814)])
STATUS = Status(
    1,
    "pi-01",
    "online",
    1795337912000000000,
    EPOCH,
    8815,
    120_000,
    [(8812, 8815)],
    400,
    3200,
    [DroppedRange(3, 5, 90, "outbox full: oldest dropped")],
    [MachineStatus(str(PUMP), "lost", 1795337900000000000, "no answer", {"bearing_temp": 2150891520}, 3)],
    True,
    "0.1.0",
)


def test_topics_say_gateway_first() -> None:
    """One broker rule, `pattern write forewarn/v1/%u/#`, keeps each gateway to its own topics."""
    topics = Topics()
    assert topics.batch("pi-01", PUMP) == "forewarn/v1/pi-01/data/riverside/hall-1/water/pump-7"
    assert topics.status("pi-01") == "forewarn/v1/pi-01/status"
    assert topics.receipt("pi-01") == "forewarn/v1/pi-01/receipt"
    assert topics.parse(topics.batch("pi-01", PUMP)) == BatchTopic("pi-01", PUMP)
    assert topics.parse(topics.status("pi-01")) == StatusTopic("pi-01")


@pytest.mark.parametrize(
    "topic",
    [
        "other/v1/pi/status",
        "forewarn/v1/pi",
        "forewarn/v1/PI/status",
        "forewarn/v1/pi/receipt",
        "forewarn/v1/pi/data/a/b/c",
        "forewarn/v1/pi/data/a/b/c/d/e",
        "forewarn/v1/pi/data/a/b/c/../d",
        "forewarn/v1//status",
        "",
    ],
)
def test_other_topics_are_refused(topic: str) -> None:
    """What is none of ours has one named error."""
    with pytest.raises(TopicRejected):
        Topics().parse(topic)


def test_a_machine_path_is_four_plain_segments() -> None:
    """The path of ISA-95 reads back as it is written."""
    assert str(MachinePath.parse(str(PUMP))) == "riverside/hall-1/water/pump-7"
    with pytest.raises(TopicRejected, match="is not site/area/line/machine"):
        MachinePath.parse("riverside/pump-7")


def test_the_golden_receipt_and_status_stand() -> None:
    """Both are read by gateways and clouds of other versions."""
    assert encode_receipt(RECEIPT) == (GOLDEN / "receipt.json").read_bytes()
    assert decode_receipt((GOLDEN / "receipt.json").read_bytes()) == RECEIPT
    assert encode_status(STATUS) == (GOLDEN / "status.json").read_bytes()
    assert decode_status((GOLDEN / "status.json").read_bytes()) == STATUS


@pytest.mark.parametrize(
    "payload",
    [b"", b"{}", b'{"v":2,"epoch":"a"}', b'{"v":1,"epoch":"a","stored":[[3,1]]}', b"[" * 100_000],
)
def test_no_receipt_lets_nothing_go(payload: bytes) -> None:
    """What is not a receipt has one named error."""
    with pytest.raises(ReceiptRejected):
        decode_receipt(payload)


@pytest.mark.parametrize(
    "payload",
    [b"", b"{}", b'{"v":2,"gateway":"a","state":"online","timestamp":1}', b'{"v":1,"state":"x"}', b"\xff"],
)
def test_no_status_counts_nothing(payload: bytes) -> None:
    """What is not a status has one named error."""
    with pytest.raises(StatusRejected):
        decode_status(payload)


spans = st.tuples(st.integers(1, 60), st.integers(0, 9)).map(lambda pair: (pair[0], pair[0] + pair[1]))


def numbers_in(ranges: SequenceRanges) -> set[int]:
    """The plain set that the ranges stand for."""
    return {number for first, last in ranges for number in range(first, last + 1)}


@given(st.lists(spans), st.lists(spans))
def test_ranges_are_sets(mine: list[tuple[int, int]], theirs: list[tuple[int, int]]) -> None:
    """Adding, taking away, counting and asking agree with Python's own sets; ranges stay apart."""
    left, right = SequenceRanges(mine), SequenceRanges(theirs)
    plain_left = {n for first, last in mine for n in range(first, last + 1)}
    plain_right = {n for first, last in theirs for n in range(first, last + 1)}
    assert numbers_in(left) == plain_left
    assert left.total == len(plain_left)
    assert numbers_in(left.minus(right)) == plain_left - plain_right
    assert all((n in left) == (n in plain_left) for n in range(72))
    pieces = list(left)
    assert all(a[1] + 1 < b[0] for a, b in itertools.pairwise(pieces))
    assert SequenceRanges.of(plain_left) == left


def test_status_codes_have_their_names() -> None:
    """Engineers know OPC UA's codes by name."""
    assert quality.describe(2150891520) == "BadNodeIdUnknown"
    assert quality.describe(0x80AB0000) == "Bad (0x80AB0000)"
    assert quality.describe(0x80720000) == "BadHistoryOperationUnsupported"
    assert quality.is_good(0x00A00000)
    assert quality.is_bad(quality.BAD_TIMEOUT)
    assert not quality.is_bad(quality.UNCERTAIN)
    assert not quality.is_good(quality.UNCERTAIN_SUB_NORMAL)
