"""A broker that sends more than it was asked to: all of it is taken in at once, over the one connection."""

from pathlib import Path

from tests.integration.ingest_rig import CloudRig, Gateway, MemoryStore
from tests.servers import Mosquitto, wait_until


def test_what_a_broker_sends_beyond_the_receive_maximum_is_taken_in(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    """Mosquitto 2.0 passes its queue on faster than acknowledgements allow: nothing is turned away."""
    store = MemoryStore()
    cloud = CloudRig(mosquitto.settings, tmp_path, store, receive_max=20)
    gateway = Gateway(mosquitto.settings)

    def is_receipted() -> bool:
        gateway.send(1)
        return bool(gateway.stored.total)

    try:
        wait_until(is_receipted, "the first receipt")
        store.away.set()
        sent = len(gateway.delivered)
        for sequence in range(2, 602):
            gateway.send(sequence)
        wait_until(lambda: len(gateway.delivered) >= sent + 600, "the broker has every batch", 30)
        store.away.clear()
        gateway.wait_stored(601)
        assert cloud.counts("inbox_overflows_total") == 0
    finally:
        gateway.link.stop()
        cloud.stop()
