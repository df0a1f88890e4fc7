"""The book of gaps of all machines: bounded, written down now and then, and right when settings change."""

from edge.drivers.modbus.settings import ModbusMachineSettings
from edge.drivers.opcua.settings import OpcuaMachineSettings
from edge.outbox.stored import Coverage
from edge.polling.gap_book import GapBook
from edge.polling.gaps import NS_PER_S, Pace
from edge.sources import find_history_s, find_pace
from models.telemetry import Frame, Gap, MachinePath

PUMP = MachinePath.parse("site/area/line/pump")
NOW = 1_795_337_912 * NS_PER_S


def make_book(**reached: int) -> GapBook:
    """Return the book of a gateway that has just begun to read the pump."""
    book = GapBook(gaps_pending_max=10)
    book.load({str(PUMP): at for at in reached.values()})
    book.begin(PUMP, NOW, 0, Pace())
    return book


def read_at(book: GapBook, second: int) -> None:
    """Let a value be read."""
    pump = book.of(PUMP)
    assert pump is not None
    pump.admit(
        [Frame([NOW + second * NS_PER_S], {"flow": [1.0]})], NOW + second * NS_PER_S, second * NS_PER_S
    )


def list_gaps(coverage: Coverage | None) -> list[Gap]:
    """Return all gaps of a flush."""
    return [gap for _, gaps in coverage.gaps for gap in gaps] if coverage is not None else []


def test_a_machine_whose_settings_change_is_not_acquired_meanwhile() -> None:
    """From its last value to the first one under the new settings, without an instant between."""
    book = make_book()
    read_at(book, 1)
    book.end(PUMP, NOW + 5 * NS_PER_S, 5 * NS_PER_S)
    book.begin(PUMP, NOW + 9 * NS_PER_S, 9 * NS_PER_S, Pace())
    read_at(book, 10)
    before, after = list_gaps(book.take(10 * NS_PER_S, with_frames=True))
    assert {before.reason, after.reason} == {"polling_stopped"}
    assert (before.first, after.last) == (NOW + NS_PER_S, NOW + 10 * NS_PER_S)
    assert after.first == before.last - 1


def test_too_many_gaps_become_one_that_covers_all_of_the_oldest() -> None:
    """What waits for a disk that refuses is bounded; nothing uncovered comes of it."""
    book = make_book()
    many = [Gap(n * NS_PER_S, n * NS_PER_S + 9, "overflow", ["flow"], 2) for n in range(1, 31)]
    for gap in many:
        book.add(PUMP, [gap])
    kept = list_gaps(book.take(0, with_frames=False))
    assert len(kept) == 10
    assert (kept[0].first, kept[0].last, kept[0].tags) == (many[0].first, many[20].last, [])
    assert sum(gap.values or 0 for gap in kept) == 60
    assert kept[1:] == many[21:]


def test_a_disk_that_goes_on_refusing_costs_no_memory_without_end() -> None:
    """Gaps that come while a write is under way count as well once it has failed; none is uncovered."""
    book = make_book()
    many = [Gap(n * NS_PER_S, n * NS_PER_S + 9, "overflow", ["flow"], 2) for n in range(1, 101)]
    for at in range(0, 100, 10):
        book.take(0, with_frames=True)
        book.add(PUMP, many[at : at + 10])
        book.give_back()
    kept = list_gaps(book.take(0, with_frames=True))
    assert len(kept) == 10
    assert sum(gap.values or 0 for gap in kept) == 200
    assert all(any(gap.first <= one.first and one.last <= gap.last for gap in kept) for one in many)


def test_how_far_a_silent_machine_is_acquired_is_written_down_now_and_then() -> None:
    """With frames at once; without, every ten seconds, so that a disk at rest stays at rest."""
    book = make_book()
    read_at(book, 1)
    first = book.take(NS_PER_S, with_frames=True)
    assert first is not None
    assert first.reached == {str(PUMP): NOW + NS_PER_S}
    book.settle(NS_PER_S)
    pump = book.of(PUMP)
    assert pump is not None
    written = 0
    for second in range(2, 62):
        pump.hear(NOW + second * NS_PER_S, second * NS_PER_S)
        coverage = book.take(second * NS_PER_S, with_frames=False)
        if coverage is not None:
            assert coverage.reached == {str(PUMP): NOW + (second - 2) * NS_PER_S}
            book.settle(second * NS_PER_S)
            written += 1
    assert written == 6


def test_what_could_not_be_written_comes_again_in_order() -> None:
    """Gaps that were given back stand before those that came meanwhile."""
    book = make_book(reached=NOW - 60 * NS_PER_S)
    read_at(book, 1)
    (down,) = list_gaps(book.take(NS_PER_S, with_frames=True))
    assert (down.first, down.last, down.reason) == (NOW - 60 * NS_PER_S, NOW + NS_PER_S, "gateway_down")
    later = Gap(5, 9, "overflow")
    book.add(PUMP, [later])
    book.give_back()
    assert list_gaps(book.take(2 * NS_PER_S, with_frames=True)) == [down, later]
    book.settle(2 * NS_PER_S)
    assert book.take(3 * NS_PER_S, with_frames=False) is None


TAG = {"name": "flow", "node_id": "ns=2;s=flow"}
OPCUA = {"kind": "opcua", "path": str(PUMP), "url": "opc.tcp://10.0.0.7:4840", "allow_insecure": True}


def test_the_settings_say_how_news_come_and_what_history_may_fill() -> None:
    """Only subscriptions of differing intervals lag; only OPC UA remembers, unless that is switched off."""
    slow = {**TAG, "name": "slow", "interval_s": 30}
    even = OpcuaMachineSettings.model_validate({**OPCUA, "tags": [TAG]})
    mixed = OpcuaMachineSettings.model_validate({**OPCUA, "history": "off", "tags": [TAG, slow]})
    polled = OpcuaMachineSettings.model_validate({**OPCUA, "mode": "poll", "tags": [TAG, slow]})
    register = {"name": "flow", "table": "holding", "address": 0, "type": "uint16"}
    modbus = ModbusMachineSettings.model_validate(
        {"kind": "modbus", "path": str(PUMP), "host": "10.0.0.9", "tags": [register]}
    )
    assert [find_pace(machine).lag_ns for machine in (even, mixed, polled, modbus)] == [
        *(0, 30 * NS_PER_S, 0, 0),
    ]
    assert find_pace(mixed).quiet_ns > 30 * NS_PER_S
    assert [find_history_s(machine) for machine in (even, mixed, polled, modbus)] == [86_400, 0, 86_400, 0]
