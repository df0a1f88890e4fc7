"""The wire contract (schema 1): batches, topics, status and receipts, as both sides read them."""

from models.telemetry import quality
from models.telemetry.batch import (
    PAYLOAD_BYTES_MAX,
    Batch,
    BatchRejected,
    Column,
    Frame,
    Value,
    count_values,
    decode_batch,
    encode_batch,
    encode_framed,
    encode_frames,
)
from models.telemetry.gap import GAP_DETAIL_CHARS_MAX, Gap, GapReason
from models.telemetry.ranges import SequenceRanges
from models.telemetry.receipt import Receipt, decode_receipt, encode_receipt
from models.telemetry.status import (
    DroppedRange,
    MachineStatus,
    Status,
    decode_status,
    encode_status,
)
from models.telemetry.topics import BatchTopic, MachinePath, StatusTopic, TopicRejected, Topics

__all__ = [
    "GAP_DETAIL_CHARS_MAX",
    "PAYLOAD_BYTES_MAX",
    "Batch",
    "BatchRejected",
    "BatchTopic",
    "Column",
    "DroppedRange",
    "Frame",
    "Gap",
    "GapReason",
    "MachinePath",
    "MachineStatus",
    "Receipt",
    "SequenceRanges",
    "Status",
    "StatusTopic",
    "TopicRejected",
    "Topics",
    "Value",
    "count_values",
    "decode_batch",
    "decode_receipt",
    "decode_status",
    "encode_batch",
    "encode_framed",
    "encode_frames",
    "encode_receipt",
    "encode_status",
    "quality",
]
