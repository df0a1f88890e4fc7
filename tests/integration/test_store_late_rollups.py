"""Values that come days late: the nightly read-back has InfluxDB compute their day's roll-ups anew."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from cloud.ingest import upkeep
from cloud.ingest.day_counts import DAY_NS, DayCounter, list_days, record_days
from cloud.ingest.upkeep import Upkeep
from cloud.metrics import CloudMetrics
from cloud.records import open_records
from cloud.stores import Block
from cloud.transactions import begin_write
from models.telemetry import Frame
from tests.integration.influx_front import InfluxServer
from tests.integration.test_influx_setup_store import MINUTE, PUMP, read_rollup, write
from tests.servers import wait_until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[InfluxServer]:
    """A running database."""
    running = InfluxServer(tmp_path)
    yield running
    running.close()


def test_values_that_came_days_late_are_in_the_rollups_after_the_night(
    server: InfluxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The read-back has their day computed anew; without roll-ups it says so and still reads back."""
    monkeypatch.setattr(upkeep, "IDLE_PAUSE_S", 0.05)
    for bucket, there in (("late-1", True), ("late-2", False)):
        settings = server.native_settings(bucket)
        if there:
            settings.set_up()
        else:
            server.database.create_bucket(bucket)
        first_ns = (time.time_ns() // DAY_NS - 5) * DAY_NS
        write(settings, first_ns, [1.0, 3.0])
        times = [first_ns, first_ns + MINUTE // 6]
        block = Block("telemetry", PUMP, [Frame(times, {"speed": [1.0, 3.0]})])
        engine = open_records(f"sqlite:///{tmp_path}/{bucket}.sqlite")
        with begin_write(engine) as connection:
            record_days(connection, DayCounter().count([block]), time.time_ns())
        stop, writer = threading.Event(), settings.build_writer()
        running = Upkeep(writer, settings, engine, CloudMetrics())
        thread = threading.Thread(target=running.run, args=(stop,))
        with structlog.testing.capture_logs() as said:
            thread.start()
            wait_until(lambda: any(line["event"] == "read_back_complete" for line in said), "read back")
            stop.set()
            thread.join(10)
        writer.close()
        assert [line["event"] for line in said] == ["rollups_not_recomputed"] * (not there) + [
            "read_back_complete"
        ]
        assert list_days(engine)[0].found == 2
        if there:
            assert read_rollup(settings, "1m", "mean_speed") == [2.0]
