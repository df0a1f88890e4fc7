"""Replays dead letters: decodes and stores them by the same rules as if they had just come."""

import time

import msgspec

from cloud.ingest.day_counts import DayCounter, record_days
from cloud.ingest.dead_letters import DeadLetter, DeadLetters
from cloud.ingest.gaps import record_gaps
from cloud.ingest.inbox import Delivery
from cloud.ingest.ledger import EpochChange, Ledger
from cloud.ingest.sorting import Poison, sort_delivery
from cloud.ingest.stowing import stow_batches
from cloud.stores import StoreWriter
from models.link import LinkMessage
from models.telemetry import BatchTopic, StatusTopic, TopicRejected, Topics


class Replay(msgspec.Struct, frozen=True):
    """What became of one dead letter: stored, or still bad and why."""

    id: int
    stored: bool
    reason: str = ""


class Replayer:
    """Stores dead letters that have become good: after an update, or after the store's mend."""

    def __init__(
        self, topics: Topics, writer: StoreWriter, ledger: Ledger, dead_letters: DeadLetters
    ) -> None:
        self._topics = topics
        self._writer = writer
        self._ledger = ledger
        self._dead_letters = dead_letters

    def replay(self, letter_id: int) -> Replay:
        """Store one letter; raise `DeadLetterUnknown`, `StoreUnavailable` or `RecordsUnavailable`."""
        letter = self._dead_letters.get(letter_id)
        judged = sort_delivery(_to_delivery(letter), self._read_topic)
        if isinstance(judged, Poison):
            return self._refuse(letter, judged.reason)
        stowed = stow_batches([judged], self._writer.write)
        reasons = [one.reason for one in stowed.poison] + [one.reason for one in stowed.excerpts]
        if reasons:  # what of it is good is stored all the same
            return self._refuse(letter, reasons[0])
        with self._ledger.begin() as connection:
            record_gaps(connection, stowed.stored)
            if letter.replayed_ns is None:  # once is enough: the store knows a repeat, the ledger does not
                counted = [(judged.sequence, judged.values)]
                change = (
                    EpochChange(replayed=counted) if letter.excerpt else EpochChange(replayed_whole=counted)
                )
                self._ledger.record(connection, {judged.key: change})
                record_days(connection, DayCounter().count(stowed.blocks), time.time_ns(), repeats=True)
            self._dead_letters.mark_replayed(connection, letter.id, time.time_ns())
        return Replay(letter.id, stored=True)

    def _refuse(self, letter: DeadLetter, reason: str) -> Replay:
        self._dead_letters.change_reason(letter.id, reason)
        return Replay(letter.id, stored=False, reason=reason)

    def _read_topic(self, topic: str) -> BatchTopic | StatusTopic | TopicRejected:
        try:
            return self._topics.parse(topic)
        except TopicRejected as error:
            return error


def _to_delivery(letter: DeadLetter) -> Delivery:
    return Delivery(LinkMessage(letter.topic, letter.payload, 0, 1), 0, 0.0)
