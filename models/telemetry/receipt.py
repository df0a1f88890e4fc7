"""Receipts: the cloud's word to a gateway about which batches it may let go."""

import msgspec

from models.errors import ForewarnError

RANGES_MAX = 10_000


class ReceiptRejected(ForewarnError):
    """The payload is no receipt: ignore it; the batches stay in the outbox."""


class Receipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """Inclusive ranges of sequence numbers of one (gateway, epoch) that the cloud now answers for.

    `stored` ranges are committed to the database; `dead_lettered` ones are kept for a person to look at.
    """

    v: int
    epoch: str
    stored: list[tuple[int, int]] = []
    dead_lettered: list[tuple[int, int]] = []


_decoder = msgspec.json.Decoder(Receipt)


def encode_receipt(receipt: Receipt) -> bytes:
    """Return the payload of `receipt`."""
    return msgspec.json.encode(receipt)


def decode_receipt(payload: bytes) -> Receipt:
    """Return the receipt in `payload`; raise `ReceiptRejected` for anything else."""
    try:
        receipt = _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ReceiptRejected(f"not a receipt: {error}") from error
    ranges = receipt.stored + receipt.dead_lettered
    if receipt.v != 1 or len(ranges) > RANGES_MAX:
        raise ReceiptRejected(f"receipt of version {receipt.v} with {len(ranges)} ranges")
    if any(not 1 <= first <= last for first, last in ranges):
        raise ReceiptRejected("a range of the receipt is backwards or below 1")
    return receipt
