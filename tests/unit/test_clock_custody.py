"""Values that wait on the disk for the clock: through restarts of the program, and power cuts."""

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from edge.outbox.file import OutboxFull, OutboxUnavailable
from edge.outbox.held import HeldTable
from edge.outbox.outbox import Outbox
from edge.outbox.pages import find_batches
from edge.outbox.stored import Coverage, Put
from edge.outbox.thread import OutboxThread
from edge.polling import clock
from edge.polling.clock import read_boot_id, read_clocks
from edge.polling.clock_custody import ClockCustody
from edge.polling.clock_doubt import BUILT_NS, NS_PER_S, SLACK_S, ClockJudge, find_floor
from edge.polling.clock_keeper import ClockKeeper, Held, Lost
from models.telemetry import Batch, Frame, Gap, MachinePath, decode_batch

PUMP = MachinePath.parse("site/area/line/pump")
FAN = MachinePath.parse("site/area/line/fan")
SECOND = NS_PER_S
TRUE = 1_795_337_912 * SECOND


class Gateway:
    """A keeper, its custody and an outbox of one program; the test moves its clocks."""

    def __init__(self, path: Path, boot: str = "boot-1", floor_ns: int = BUILT_NS) -> None:
        self.outbox = Outbox(path, "pi-01", 10_000_000)
        self.thread = OutboxThread(self.outbox)
        self.keeper = ClockKeeper(ClockJudge(floor_ns))
        self.now_ns, self.boot_ns = 0, 0
        self.puts: list[Put] = []
        self.boot = boot

    def run(self, *, end: bool = True) -> None:
        """Do one flush; with `end` the program ends after it."""

        async def flush() -> None:
            await self.thread.open()
            custody = ClockCustody(
                self.keeper,
                self.thread,
                self.puts.append,
                boot_id=self.boot,
                clocks=lambda: (self.now_ns, self.boot_ns),
            )
            await custody.carry()
            custody.tell_end()
            await self.thread.close()

        asyncio.run(flush())

    def read(self, value: float, machine: MachinePath = PUMP) -> None:
        """Poll a machine once."""
        frames = [Frame([self.now_ns], {"a": [value]}, {}, {"a": [0]} if value == 2 else {})]
        self.keeper.admit(machine, frames, self.now_ns, self.boot_ns)

    def at(self, now_ns: int, boot_ns: int) -> "Gateway":
        """Set both clocks."""
        self.now_ns, self.boot_ns = now_ns, boot_ns
        return self

    @property
    def batches(self) -> list[Batch]:
        """What became batches."""
        return [decode_batch(batch.payload) for put in self.puts for batch in put.batches]


def list_points(batches: list[Batch]) -> list[tuple[int, float | None, bool]]:
    """Return (timestamp, value, whether a repeat) of all frames."""
    return [
        (at, frame.values["a"][row], row in frame.repeats.get("a", []))
        for batch in batches
        for frame in batch.frames
        for row, at in enumerate(frame.timestamps)
    ]


def test_a_program_of_the_same_boot_restamps_what_an_earlier_one_left(tmp_path: Path) -> None:
    """Killed twice while the clock was wrong: every value gets its true time, by the steady clock."""
    path = tmp_path / "outbox.sqlite"
    first = Gateway(path).at(10 * SECOND, 5 * SECOND)
    first.read(1)
    first.read(9, FAN)
    first.run()
    second = Gateway(path).at(900 * SECOND, 65 * SECOND)  # and its wrong clock was moved meanwhile
    second.read(2)
    second.run()
    assert first.puts == second.puts == []
    third = Gateway(path).at(TRUE, 100 * SECOND)
    with capture_logs() as said:
        third.run()
    by_machine = {batch.frames[0].values["a"][0]: batch for batch in third.batches}
    assert list_points([by_machine[1.0]]) == [
        (TRUE - 95 * SECOND, 1.0, False),
        (TRUE - 35 * SECOND, 2.0, True),
    ]
    assert list_points([by_machine[9.0]]) == [(TRUE - 95 * SECOND, 9.0, False)]
    assert [line["event"] for line in said] == ["values_restamped"]
    assert said[0]["values"] == 3
    fourth = Gateway(path).at(TRUE + SECOND, 101 * SECOND)
    fourth.run()
    assert fourth.puts == [], "nothing is restamped twice"


def test_after_a_power_cut_the_time_is_unknown_and_a_gap_says_so(tmp_path: Path) -> None:
    """Another boot's values are not stored: counted, said once, recorded between what is known and now."""
    path = tmp_path / "outbox.sqlite"
    known = Gateway(path).at(TRUE - 86_400 * SECOND, 50 * SECOND)
    known.run()  # writes down that this instant is over
    cut = Gateway(path, floor_ns=known.now_ns).at(7 * SECOND, 5 * SECOND)
    for value in (1, 2, 3):
        cut.read(value)
    cut.read(4, FAN)
    cut.run()
    still_wrong = Gateway(path, "boot-2", floor_ns=known.now_ns).at(8 * SECOND, 6 * SECOND)
    still_wrong.run()
    assert still_wrong.puts == []
    back = Gateway(path, "boot-2").at(TRUE, 20 * SECOND)
    with capture_logs() as said:
        back.run()
    told = [(batch.gaps, batch.frames) for batch in back.batches]
    assert [frames for _, frames in told] == [[], []]
    assert sorted(gap.values or 0 for gaps, _ in told for gap in gaps) == [1, 3]
    gap = told[0][0][0]
    assert (gap.first, gap.last, gap.reason, gap.tags) == (known.now_ns, TRUE, "clock_unknown", [])
    assert [line["event"] for line in said] == ["values_without_time"] * 2
    assert {line["machine"]: line["values"] for line in said} == {str(PUMP): 3, str(FAN): 1}
    again = Gateway(path, "boot-2").at(TRUE + SECOND, 21 * SECOND)
    again.run()
    assert again.puts == []


def test_the_gap_begins_where_the_machine_was_last_acquired(tmp_path: Path) -> None:
    """Not at the program's last sign of life, and not at what was acquired since, in the next boot."""
    path = tmp_path / "outbox.sqlite"
    Gateway(path).at(TRUE - 1_000 * SECOND, 50 * SECOND).run()
    acquired_ns, since_ns = TRUE - 5_000 * SECOND, TRUE - SECOND

    def note(reached_ns: int) -> None:
        outbox = Outbox(path, "pi-01", 10_000_000)
        outbox.open()
        outbox.put([], TRUE, coverage=Coverage(reached={str(PUMP): reached_ns}))
        outbox.close()

    note(acquired_ns)
    cut = Gateway(path).at(7 * SECOND, 5 * SECOND)
    cut.read(1)
    cut.read(2, FAN)
    cut.run()
    note(since_ns)
    back = Gateway(path, "boot-2").at(TRUE, 20 * SECOND)
    back.run()
    gaps = {gap.first: gap.values for batch in back.batches for gap in batch.gaps}
    assert set(gaps) == {acquired_ns, BUILT_NS}
    held = sqlite3.connect(path)
    assert held.execute("SELECT count(*) FROM held_since").fetchone() == (0,)
    held.close()


def test_what_does_not_fit_is_a_gap_of_its_own_time(tmp_path: Path) -> None:
    """The oldest go for newer ones; when they were read is known all the same, and recorded."""
    outbox = Outbox(tmp_path / "outbox.sqlite", "pi-01", 10_000_000)
    outbox.open()
    table = HeldTable(outbox.held._tables, bytes_max=3_000)
    rows = [[Held(PUMP, [Frame([at], {"a": [0.5] * 1})], 1)] for at in range(1, 200)]
    dropped = sum(table.add("boot-1", row, [], TRUE) for row in rows)
    dropped += table.add("boot-1", [], [Lost(PUMP, 500, 600, 7)], TRUE)
    assert 0 < table.bytes <= 3_000
    assert (table.values, dropped) == (199 - dropped, dropped)
    assert table.read_lost("boot-1") == [Lost(PUMP, 1, 600, dropped + 7)]
    outbox.close()
    gateway = Gateway(tmp_path / "outbox.sqlite").at(TRUE, 1_000)
    gateway.run()
    (gap,) = [gap for batch in gateway.batches for gap in batch.gaps]
    assert gap == Gap(TRUE - 1_000, TRUE - 399, "memory_full", values=dropped + 7, detail=gap.detail)
    assert len(list_points(gateway.batches)) == 199 - dropped


def test_a_disk_that_refuses_leaves_all_in_memory(tmp_path: Path) -> None:
    """Nothing is lost by a hold that failed, and it is tried again."""
    gateway = Gateway(tmp_path / "outbox.sqlite").at(10, 10)
    gateway.read(1)

    async def flush_twice() -> None:
        await gateway.thread.open()
        custody = ClockCustody(
            gateway.keeper, gateway.thread, gateway.puts.append, boot_id="b", clocks=lambda: (10, 10)
        )
        gateway.outbox.held._connection.execute("PRAGMA query_only=ON")
        with pytest.raises(OutboxUnavailable):
            await custody.carry()
        assert (gateway.keeper.values_held, custody.values_waiting) == (1, 1)
        gateway.outbox.held._connection.execute("PRAGMA query_only=OFF")
        assert await custody.carry()
        assert (gateway.keeper.values_held, custody.values_waiting) == (0, 1)
        await gateway.thread.close()

    asyncio.run(flush_twice())


def test_waiting_values_leave_the_room_that_deleting_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk that is full but for what is kept for deletions they stay in memory."""
    outbox = Outbox(tmp_path / "outbox.sqlite", "pi-01", 10_000_000)
    outbox.open()
    monkeypatch.setattr(outbox._ballast, "stow", lambda: False)
    with pytest.raises(OutboxFull, match="kept for deletions"):
        outbox.held.add("boot-1", [Held(PUMP, [Frame([1], {"a": [1.0]})], 1)], [], TRUE)
    assert outbox.held.values == 0
    outbox.close()


def test_a_row_that_the_disk_has_changed_is_a_gap(tmp_path: Path) -> None:
    """A flipped bit must not become a value."""
    path = tmp_path / "outbox.sqlite"
    gateway = Gateway(path).at(10, 10)
    gateway.read(1.5)
    gateway.run()
    with sqlite3.connect(path) as beside:
        beside.execute("UPDATE held SET payload = CAST(replace(payload, '1.5', '7.5') AS BLOB)")
    later = Gateway(path).at(TRUE, 100)
    later.run()
    assert [(gap.reason, gap.values) for batch in later.batches for gap in batch.gaps] == [
        ("clock_unknown", 1)
    ]
    assert list_points(later.batches) == []


def test_bare_pages_with_waiting_values_hold_no_batches(tmp_path: Path) -> None:
    """A rescue must not take values without a true time for batches."""
    path = tmp_path / "outbox.sqlite"
    gateway = Gateway(path).at(10, 10)
    for value in range(500):
        gateway.read(value)
    gateway.run()
    assert b'"timestamps":[10' in path.read_bytes()
    assert list(find_batches(path.read_bytes())) == []


def test_the_outbox_knows_what_time_it_was_at_least(tmp_path: Path) -> None:
    """Its newest file, with some slack; without one, the date of this program; and what it wrote down."""
    outbox = tmp_path / "outbox.sqlite"
    assert find_floor(outbox) == BUILT_NS
    outbox.touch()
    os.utime(outbox, ns=(1, TRUE))
    assert find_floor(outbox) == TRUE - SLACK_S * SECOND
    log = tmp_path / "outbox.sqlite-wal"
    log.touch()
    os.utime(log, ns=(1, TRUE + SECOND))
    assert find_floor(outbox) == TRUE + SECOND - SLACK_S * SECOND
    os.utime(log, ns=(1, 1))
    os.utime(outbox, ns=(1, 1))
    assert find_floor(outbox) == BUILT_NS
    Gateway(tmp_path / "other.sqlite").at(TRUE, 10).run()
    written = Outbox(tmp_path / "other.sqlite", "pi-01", 10_000_000)
    written.open()
    assert written.held.read_seen_ns() == TRUE
    written.close()


def test_the_steady_clock_and_the_boot_are_the_same_for_every_program() -> None:
    """Two looks: time goes on, the boot's name stays."""
    first, later = read_clocks(), read_clocks()
    assert later[0] >= first[0]
    assert later[1] >= first[1] > 0
    assert read_boot_id() == read_boot_id() != ""


def test_where_the_kernel_may_not_say_the_boots_name_the_service_manager_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same name, written either way; with neither every program is for itself."""
    known, spelled = tmp_path / "boot_id", "2fe76b6e-f0b6-4b1e-8a07-d1f7904e54b8"
    known.write_text(f"{spelled}\n")
    monkeypatch.setattr(clock, "_BOOT_ID", known)
    by_kernel = read_boot_id()
    monkeypatch.setattr(clock, "_BOOT_ID", tmp_path / "hidden")
    assert read_boot_id() != read_boot_id()
    monkeypatch.setenv(clock.BOOT_ID_VARIABLE, spelled.replace("-", ""))
    assert read_boot_id() == by_kernel
