"""After a long outage: what is fresh does not queue behind what is old."""

from pathlib import Path

from edge.outbox.outbox import Outbox
from models.telemetry import Frame
from tests.integration.edge_rig import (
    PATH,
    CountingDriver,
    StandInCloud,
    look_into,
    make_settings,
    running,
    until,
)
from tests.servers import Mosquitto

BACKLOG = 2_000


async def test_fresh_values_overtake_a_long_backlog(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """Thousands of old batches wait: the first fresh one arrives long before the last of them."""
    settings = make_settings(tmp_path, mosquitto.settings)
    outbox = Outbox(settings.outbox.path, "pi-01", 10**9)
    outbox.open()
    outbox.put([(PATH, [Frame([number], {"old": [1.0]})]) for number in range(1, BACKLOG + 1)], 1)
    outbox.close()
    cloud = StandInCloud(mosquitto.settings)
    cloud.start()
    await until(cloud.is_connected, "the cloud listens")
    async with running(settings, CountingDriver()):
        await until(lambda: set(range(1, BACKLOG + 1)) <= set(cloud.sequences), "all of it arrived", 60)
    cloud.stop()
    fresh = next(place for place, number in enumerate(cloud.sequences) if number > BACKLOG)
    assert fresh < BACKLOG // 2
    assert look_into(settings).waiting == []
