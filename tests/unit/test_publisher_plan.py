"""What the publisher sends next: live first, bounded, never given up before its receipt."""

from itertools import pairwise

from edge.outbox.outbox import StoredBatch
from edge.publishing.limits import SendingLimits
from edge.publishing.sending import Sending

SMALL = SendingLimits(
    unacknowledged_max=4,
    unreceipted_batches_max=10,
    live_batches_max=6,
    fetch_batches_max=4,
    backlog_every=3,
)


def batch(sequence: int) -> StoredBatch:
    """Return a batch of 100 bytes."""
    return StoredBatch(sequence, "site/area/line/pump", b"x" * 100)


class Wire:
    """Carries out what `Sending` decides, as the publisher does, and keeps the order."""

    def __init__(self, sending: Sending) -> None:
        self.sending = sending
        self.mid = 0
        self.order: list[int] = []
        self.unanswered: list[int] = []

    def pump(self, now: float) -> list[int]:
        """Send all that may go; return the sequences."""
        before = len(self.order)
        while True:
            wanted = self.sending.plan_fetch()
            if wanted:
                batches = [batch(number) for first, last in wanted for number in range(first, last + 1)]
                self.sending.add_fetched(batches, complete=True)
            chosen = self.sending.choose(now)
            if chosen is None:
                return self.order[before:]
            self.mid += 1
            self.sending.sent(chosen[0], self.mid, now, backlog=chosen[1])
            self.order.append(chosen[0].sequence)
            self.unanswered.append(self.mid)

    def answer(self, now: float, code: int = 0) -> None:
        """The broker answers for everything."""
        for mid in self.unanswered:
            self.sending.deliver(mid, code, now)
        self.unanswered = []

    def run(self, now: float) -> list[int]:
        """Send and have acknowledged until nothing more may go; return the sequences."""
        sent: list[int] = []
        while True:
            new = self.pump(now)
            if not new:
                return sent
            sent += new
            self.answer(now)


def connected(waiting: list[tuple[int, int]] | None = None, limits: SendingLimits = SMALL) -> Wire:
    """Return a wire whose broker is there."""
    sending = Sending(waiting or [], limits)
    sending.connect(0.0)
    return Wire(sending)


def test_nothing_goes_out_without_a_broker() -> None:
    """Before the first connect, batches wait; afterwards they go."""
    wire = Wire(Sending([(1, 2)], SMALL))
    wire.sending.add_live([batch(3)])
    assert wire.pump(0.0) == []
    wire.sending.connect(1.0)
    assert wire.run(1.0) == [1, 2, 3]


def test_no_more_than_the_window_is_without_puback() -> None:
    """The fifth batch waits for one of four PUBACKs."""
    wire = connected()
    wire.sending.add_live(batch(number) for number in range(1, 7))
    assert wire.pump(0.0) == [1, 2, 3, 4]
    wire.sending.deliver(1, 0, 0.1)
    assert wire.pump(0.1) == [5]


def test_no_more_than_the_window_is_without_receipt() -> None:
    """Ten delivered batches without receipt stop the flow; a receipt lets as many out as it named."""
    wire = connected([(1, 30)], SendingLimits(unreceipted_batches_max=10, backlog_share=1.0))
    assert wire.run(0.0) == list(range(1, 11))
    wire.sending.receive([(3, 5)], 0.2)
    assert wire.run(0.2) == [11, 12, 13]


def test_bytes_without_receipt_are_bounded_too() -> None:
    """350 bytes of room take four batches of 100 bytes, the last one over the edge."""
    wire = connected([(1, 9)], SendingLimits(unreceipted_bytes_max=350, backlog_share=1.0))
    assert wire.run(0.0) == [1, 2, 3, 4]


def test_live_goes_before_the_backlog_which_still_moves() -> None:
    """With both waiting, one in three is an old one."""
    wire = connected([(1, 20)])
    wire.sending.add_live([batch(number) for number in range(101, 107)])
    wire.sending.add_fetched([], complete=True)
    assert wire.run(0.0)[:6] == [101, 102, 1, 103, 104, 2]


def test_the_backlog_leaves_places_for_live_batches() -> None:
    """Old batches fill half the window; a fresh one goes at once though no receipt has come."""
    wire = connected([(1, 50)])
    assert wire.run(0.0) == [1, 2, 3, 4, 5]
    wire.sending.add_live([batch(101)])
    assert wire.run(0.1) == [101]


def test_the_backlog_alone_takes_half_the_unacknowledged_places() -> None:
    """Two of four places stay free for what the next flush brings."""
    assert connected([(1, 50)]).pump(0.0) == [1, 2]


def test_too_many_live_batches_become_backlog() -> None:
    """Memory is bounded: the oldest of the live ones are read from the outbox again later."""
    wire = connected()
    wire.sending.add_live(batch(number) for number in range(1, 10))
    assert wire.sending.backlog_total == 3
    assert wire.run(0.0) == [4, 5, 1, 6, 7, 2, 8, 9, 3]


def test_a_receipt_that_does_not_come_means_again() -> None:
    """Ten seconds after it was sent an unreceipted batch is sent again; a receipted one never."""
    wire = connected()
    wire.sending.add_live([batch(1), batch(2)])
    assert wire.run(0.0) == [1, 2]
    wire.sending.receive([(1, 1)], 5.0)
    assert wire.sending.expire(9.9) == 0
    assert wire.sending.expire(10.0) == 1
    assert wire.run(10.1) == [2]


def test_what_the_broker_has_not_acknowledged_goes_with_the_next_connection() -> None:
    """On one connection it is on its way; with the connection it is lost, and its place is free again."""
    wire = connected()
    wire.sending.add_live([batch(number) for number in range(1, 5)])
    assert wire.pump(0.0) == [1, 2, 3, 4]
    wire.sending.deliver(1, 0, 0.1)
    assert wire.sending.expire(9.0) == 0
    wire.sending.disconnect()
    assert wire.sending.unanswered == 0
    wire.sending.connect(11.0)
    wire.sending.deliver(2, 0, 11.0)
    assert wire.pump(11.0) == [2, 3]  # half of all places, as ever for what is not live
    wire.answer(11.1)
    assert wire.pump(11.1) == [4]
    wire.sending.receive([(1, 4)], 11.2)
    assert wire.sending.is_idle


def test_a_puback_that_names_a_failure_is_no_delivery() -> None:
    """Codes 16 and 135 put the batch back; then one probe at a time, less and less often."""
    for code, trouble in ((16, "no_subscribers"), (135, "refused")):
        wire = connected([(1, 9)], SendingLimits())
        wire.pump(0.0)
        wire.answer(0.1, code)
        assert wire.sending.trouble == trouble
        assert wire.sending.backlog_total == 9
        probes = []
        for tenth in range(1, 300):
            if wire.pump(0.1 + tenth / 10):
                probes.append(tenth / 10)
                wire.answer(0.1 + tenth / 10, code)
        assert len(probes) <= 9
        assert max(b - a for a, b in pairwise(probes)) <= 5.1
        wire.pump(100.0)
        wire.answer(100.0)
        assert wire.sending.trouble == ""
        assert sorted({*wire.order, *wire.run(100.1)}) == list(range(1, 10))


def test_a_refusal_outlives_the_connection_that_the_broker_ends_over_it() -> None:
    """Refused, thrown out, connected again: one probe, not the whole window; an accepted one opens it."""
    wire = connected([(1, 1000)], SendingLimits())
    wire.pump(0.0)
    wire.answer(0.1, 135)
    assert (wire.sending.trouble, wire.sending.refusal_code) == ("refused", 135)
    for second in range(10, 60, 10):
        wire.sending.disconnect()
        wire.sending.connect(float(second))
        assert len(wire.pump(second + 6.0)) == 1
        wire.answer(second + 6.1, 135)
    assert len(wire.pump(90.0)) == 1
    wire.answer(90.1)
    assert wire.sending.trouble == ""
    assert len(wire.pump(90.2)) > 1


def test_a_silent_cloud_is_probed_not_flooded() -> None:
    """The broker takes everything, nobody sends receipts: single batches until one is receipted."""
    wire = connected([(1, 1000)], SendingLimits())
    assert len(wire.run(0.0)) == 400
    wire.sending.expire(10.0)
    assert wire.sending.trouble == "silent"
    probes = 0
    for second in range(10, 130):
        wire.sending.expire(float(second))
        probes += len(wire.run(float(second)))
    assert 15 <= probes <= 30
    wire.sending.receive([(wire.order[-1], wire.order[-1])], 130.0)
    assert wire.sending.trouble == ""
    assert len(wire.run(130.0)) > 300


def test_live_batches_wait_in_the_outbox_during_trouble() -> None:
    """Nothing piles up in memory while nobody takes batches."""
    wire = connected()
    wire.sending.add_live([batch(1)])
    wire.run(0.0)
    wire.sending.expire(10.0)
    wire.sending.add_live([batch(number) for number in range(2, 50)])
    assert wire.sending.backlog_total == 49


def test_a_slow_cloud_is_waited_for() -> None:
    """Receipts that take nine seconds raise the time after which a batch is sent again."""
    wire = connected()
    for round_ in range(10):
        now = 20.0 * round_
        wire.sending.add_live([batch(round_ + 1)])
        wire.run(now)
        wire.sending.receive([(round_ + 1, round_ + 1)], now + 9.0)
    assert wire.sending.receipt_timeout_s > 25.0


def test_after_a_reconnect_what_lacks_a_receipt_goes_again_soon() -> None:
    """A killed broker takes with it what it had acknowledged: two seconds' grace, then again."""
    wire = connected()
    wire.sending.add_live([batch(1)])
    wire.run(0.0)
    wire.sending.disconnect()
    wire.sending.connect(1.0)
    assert wire.sending.expire(2.9) == 0
    assert wire.sending.expire(3.0) == 1
    assert wire.run(3.0) == [1]


def test_a_new_link_forgets_the_old_ones_message_ids() -> None:
    """When the link is made anew nothing is under way: all of it goes again under new ids."""
    wire = connected()
    wire.sending.add_live([batch(1), batch(2)])
    wire.pump(0.0)
    wire.sending.reset()
    wire.sending.deliver(1, 0, 0.1)
    wire.sending.connect(1.0)
    assert wire.run(1.0) == [1, 2]


def test_what_is_receipted_while_it_is_being_read_is_not_sent() -> None:
    """A receipt may overtake the read from the outbox."""
    sending = Sending([(1, 4)], SMALL)
    sending.connect(0.0)
    assert sending.plan_fetch() == [(1, 4)]
    assert sending.plan_fetch() == []
    sending.receive([(2, 3)], 0.0)
    sending.add_fetched([batch(number) for number in range(1, 5)], complete=True)
    assert Wire(sending).run(0.0) == [1, 4]


def test_an_incomplete_read_leaves_the_rest_in_the_backlog() -> None:
    """What did not fit into one read is asked for again; what is not there any more is not."""
    sending = Sending([(1, 4)], SMALL)
    sending.connect(0.0)
    sending.plan_fetch()
    sending.add_fetched([batch(2)], complete=False)
    assert sending.plan_fetch() == [(3, 4)]


def test_dropped_batches_are_never_sent() -> None:
    """What the outbox gave up for room is forgotten, wherever it waited; a hostile range costs no time."""
    wire = connected([(1, 3)])
    wire.sending.add_live([batch(number) for number in range(4, 8)])
    wire.sending.forget([(2, 5), (100, 2**62)])
    assert sorted(wire.run(0.0)) == [1, 6, 7]
