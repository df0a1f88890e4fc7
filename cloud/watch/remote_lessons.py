"""A machine's training as two strings of bytes: what a computer elsewhere is asked, and what it answers."""

from importlib.metadata import version
from typing import Any

import msgspec
import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from cloud.stores import Table
from cloud.watch.training import learn_rows
from cloud.watch.watching import WatchSettings
from models.anomaly.bundle import BUNDLE_TROUBLES, Bundle, Packed, pack_bundle, unpack_bundle
from models.anomaly.detectors import TrainingRejected
from models.anomaly.provenance import Origin
from models.errors import ForewarnError
from models.telemetry import MachinePath


class AnswerUnusable(ForewarnError):
    """What a worker sent back is no bundle; the message says why."""


class Question(msgspec.Struct, frozen=True):
    """Rows as plain arrays (n,), the settings that training looks at, and what goes onto the card.

    `timestamps` int64, `values` float64 and `codes` uint32 as their bytes, little-endian.
    """

    machine: str
    settings: dict[str, Any]
    origin: Origin
    timestamps: bytes
    values: dict[str, bytes]
    codes: dict[str, bytes]


class Answer(msgspec.Struct, frozen=True):
    """The contents of a bundle's files, or why there is none."""

    packed: Packed | None
    refused: str = ""


def write_question(machine: MachinePath, table: Table, settings: WatchSettings, origin: Origin) -> bytes:
    """Return what a worker needs to learn what these values teach; neither store nor key is among it."""
    return msgspec.msgpack.encode(
        Question(
            str(machine),
            settings.model_dump(mode="json", exclude={"signing_key", "trusted_keys"}),
            origin,
            table.timestamps.astype("<i8").tobytes(),
            {tag: column.astype("<f8").tobytes() for tag, column in table.values.items()},
            {tag: codes.astype("<u4").tobytes() for tag, codes in table.quality.items()},
        )
    )


def answer_question(question: bytes) -> bytes:
    """Learn, on one core, and return the answer: this is what runs on a worker."""
    asked = msgspec.msgpack.decode(question, type=Question)
    table = Table(
        np.frombuffer(asked.timestamps, dtype="<i8").astype(np.int64),
        {tag: np.frombuffer(column, dtype="<f8").astype(np.float64) for tag, column in asked.values.items()},
        {tag: np.frombuffer(codes, dtype="<u4").astype(np.uint32) for tag, codes in asked.codes.items()},
    )
    settings = WatchSettings.model_validate(asked.settings)
    with threadpool_limits(1):
        try:
            bundle = learn_rows(MachinePath.parse(asked.machine), table, settings, asked.origin)
        except TrainingRejected as error:
            return msgspec.msgpack.encode(Answer(None, str(error)))
    return msgspec.msgpack.encode(Answer(pack_bundle(bundle)))


def read_answer(answer: bytes, machine: MachinePath) -> Bundle:
    """Return the bundle that a worker made; raise `TrainingRejected`, or `AnswerUnusable`.

    An answer can be wrong, but nothing in it is executed: arrays and a card are all that is read.
    """
    try:
        found = msgspec.msgpack.decode(answer, type=Answer)
        if found.packed is None:
            raise TrainingRejected(found.refused)
        bundle = unpack_bundle(found.packed)
    except (msgspec.DecodeError, *BUNDLE_TROUBLES) as error:
        raise AnswerUnusable(f"{machine}: what the worker sent back is no bundle ({error})") from error
    if bundle.card.machine != str(machine):
        raise AnswerUnusable(f"{machine}: the worker sent back a bundle of {bundle.card.machine}")
    return bundle


def name_version() -> str:
    """Return the version of Forewarn that is installed where this runs."""
    return version("forewarn")
