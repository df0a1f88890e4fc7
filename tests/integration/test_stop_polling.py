"""A full outbox that shall give nothing up: polling stops, says why, and goes on when there is room."""

from pathlib import Path

from structlog.testing import capture_logs

from models.telemetry import Frame
from tests.integration.edge_rig import CountingDriver, StandInCloud, look_into, make_settings, running, until
from tests.servers import Mosquitto

CAP = 1_000_000


class WordyDriver(CountingDriver):
    """Counts, and says so much that the outbox is soon full."""

    async def read(self) -> list[Frame]:
        """Return the next number, and 1,000 numbers beside it."""
        (frame,) = await super().read()
        ballast = {f"tag_{number}": [number + 1 / 3] for number in range(1_000)}
        return [Frame(frame.timestamps, {**frame.values, **ballast})]


async def test_polling_stops_while_the_outbox_is_full(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """No batch is dropped: the machine is left alone, as its state says; after receipts it is read on."""
    outbox = {
        "path": tmp_path / "outbox.sqlite",
        "flush_s": 0.1,
        "bytes_max": CAP,
        "when_full": "stop_polling",
    }
    settings = make_settings(tmp_path, mosquitto.settings, outbox=outbox, receipt_timeout_s=1)
    cloud = StandInCloud(mosquitto.settings)
    cloud.gives_receipts = False
    cloud.start()
    await until(cloud.is_connected, "the cloud listens")
    driver = WordyDriver()
    with capture_logs() as said:
        async with running(settings, driver):
            await until(lambda: any(line["event"] == "link_lost" for line in said), "polling stops", 60)
            stopped_at = driver.count
            cloud.gives_receipts = True
            await until(lambda: driver.count > stopped_at + 5, "the machine is read on", 60)
            await until(lambda: set(range(1, stopped_at + 5)) <= set(cloud.counts), "nothing is missing", 60)
    cloud.stop()
    (lost,) = [line for line in said if line["event"] == "link_lost"]
    assert lost["reason"].startswith("polling is stopped: the outbox was full (1000000 bytes)")
    assert look_into(settings).dropped == []
