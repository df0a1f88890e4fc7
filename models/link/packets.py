"""What goes into packets beside topic and payload, in paho's words."""

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from models.link.messages import Will

_GOODBYE_WITH_WILL = 4  # MQTT 5, 3.14.2.1


def connect_properties(receive_max: int, session_expiry_s: int) -> Properties:
    """Return what a CONNECT asks for."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's is untyped
    properties.ReceiveMaximum = receive_max
    properties.SessionExpiryInterval = session_expiry_s
    return properties


def set_will(client: paho.Client, will: Will) -> None:
    """Have the next CONNECT carry this will."""
    client.will_set(will.topic, will.payload, qos=1, retain=will.retain)


def say_goodbye(client: paho.Client, *, with_will: bool, end_session: bool = False) -> None:
    """Disconnect in order; see `Link.stop`."""
    code = ReasonCode(PacketTypes.DISCONNECT, identifier=_GOODBYE_WITH_WILL) if with_will else None
    properties = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]  # paho's is untyped
    if end_session:
        properties.SessionExpiryInterval = 0
    client.disconnect(code, properties)
