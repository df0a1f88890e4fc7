"""The MQTT connection that both sides share."""

from models.link.credentials import check_credentials
from models.link.messages import LinkDown, LinkMessage, LinkState, PacketTooLarge, Will
from models.link.mqtt import NO_MATCHING_SUBSCRIBERS, Link
from models.link.settings import BrokerSettings, TlsSettings

__all__ = [
    "NO_MATCHING_SUBSCRIBERS",
    "BrokerSettings",
    "Link",
    "LinkDown",
    "LinkMessage",
    "LinkState",
    "PacketTooLarge",
    "TlsSettings",
    "Will",
    "check_credentials",
]
