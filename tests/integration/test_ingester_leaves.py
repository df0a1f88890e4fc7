"""An ingester that is stopped in order leaves nothing behind that others would wait for."""

from pathlib import Path

from tests.integration.ingest_rig import CloudRig, Gateway, MemoryStore
from tests.servers import Mosquitto, wait_until

NO_SUBSCRIBERS = 16


def test_its_session_ends_with_it(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """The next batch is answered "nobody is here" at once, instead of waiting in the broker for a share."""
    cloud = CloudRig(mosquitto.settings, tmp_path, MemoryStore(), session_expiry_s=60)
    gateway = Gateway(mosquitto.settings)
    try:
        gateway.send(1)
        gateway.wait_stored(1)
        known = set(gateway.delivered)
        cloud.stop()
        gateway.send(2)
        wait_until(lambda: gateway.delivered.keys() - known, "the broker has answered")
        (answer,) = gateway.delivered.keys() - known
        assert gateway.delivered[answer] == NO_SUBSCRIBERS
    finally:
        gateway.link.stop()


def test_what_it_was_given_it_settles_before_it_leaves(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """Stopped while batches pour in, it has a receipt for each one that the broker gave it."""
    cloud = CloudRig(mosquitto.settings, tmp_path, MemoryStore(), session_expiry_s=60, linger_s=0.5)
    gateway = Gateway(mosquitto.settings)
    try:
        wait_until(lambda: len(gateway.delivered) == 1, "the gateway hears receipts")
        gateway.delivered.clear()
        for sequence in range(1, 61):
            gateway.send(sequence)
        wait_until(lambda: len(gateway.delivered) >= 40, "the broker has most of them")
        cloud.stop()
        wait_until(lambda: len(gateway.delivered) == 60, "the broker has answered for all")
        gateway.wait_stored(sum(code != NO_SUBSCRIBERS for code in gateway.delivered.values()))
    finally:
        gateway.link.stop()
