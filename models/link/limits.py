"""What a broker said at the connect of how much it takes (MQTT 5, 3.2.2.3). Pure."""

import msgspec

RETAIN_REFUSED = 154
RECEIVE_MAX_DEFAULT = 65_535
PUBLISH_OVERHEAD_BYTES = 16
"""Of a PUBLISH packet beside topic and payload: type, length, topic length, message id, properties."""


class BrokerLimits(msgspec.Struct, frozen=True):
    """Packets of `packet_bytes_max` bytes (None: any), `inflight_max` of them unacknowledged."""

    packet_bytes_max: int | None = None
    inflight_max: int = RECEIVE_MAX_DEFAULT
    acknowledges: bool = True
    retains: bool = True

    def takes(self, topic: str, payload: bytes) -> bool:
        """Return whether the broker takes a message of this size."""
        size = len(payload) + len(topic.encode()) + PUBLISH_OVERHEAD_BYTES
        return self.packet_bytes_max is None or size <= self.packet_bytes_max


def read_limits(properties: object) -> BrokerLimits:
    """Return the limits in the properties of a CONNACK, which has only those that the broker set."""
    return BrokerLimits(
        packet_bytes_max=getattr(properties, "MaximumPacketSize", None),
        inflight_max=getattr(properties, "ReceiveMaximum", RECEIVE_MAX_DEFAULT),
        acknowledges=getattr(properties, "MaximumQoS", 2) > 0,
        retains=getattr(properties, "RetainAvailable", 1) > 0,
    )
