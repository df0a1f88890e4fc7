"""What goes into packets beside topic and payload, in paho's words."""

from collections.abc import Sequence

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from models.link.messages import LinkDown, Will
from models.link.settings import BrokerSettings
from models.link.tls import make_tls_context

_GOODBYE_WITH_WILL = 4  # MQTT 5, 3.14.2.1


def connect_properties(receive_max: int, session_expiry_s: int) -> Properties:
    """Return what a CONNECT asks for."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's is untyped
    properties.ReceiveMaximum = receive_max
    properties.SessionExpiryInterval = session_expiry_s
    return properties


def set_credentials(client: paho.Client, settings: BrokerSettings) -> None:
    """Have every connection show who we are, and see who the broker is, as the settings say."""
    if settings.username is not None:
        password = settings.password.read() if settings.password else None
        client.username_pw_set(settings.username, password)
    if settings.tls is not None:
        client.tls_set_context(make_tls_context(settings.tls))


def set_will(client: paho.Client, will: Will) -> None:
    """Have the next CONNECT carry this will."""
    client.will_set(will.topic, will.payload, qos=1, retain=will.retain)


def publish(client: paho.Client, topic: str, payload: bytes, *, qos: int, retain: bool) -> int:
    """Publish by paho; return the message's id. Raises `LinkDown`."""
    sent = client.publish(topic, payload, qos=qos, retain=retain)
    # NO_CONN here means that the link broke this instant: with a thread paho keeps QoS 1 and will send it,
    # in a loop the loss that is told next takes it along.
    if sent.rc != paho.MQTT_ERR_SUCCESS and (qos == 0 or sent.rc != paho.MQTT_ERR_NO_CONN):
        raise LinkDown(f"the link takes no more messages: {paho.error_string(sent.rc)}")
    return sent.mid


def subscribe(client: paho.Client, topics: Sequence[str], *, sends_retained: bool = True) -> int:
    """Subscribe at QoS 1; return the id that the broker's answer will have. Raises `LinkDown`."""
    retained = (
        SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE if sends_retained else SubscribeOptions.RETAIN_DO_NOT_SEND
    )
    options = SubscribeOptions(qos=1, retainHandling=retained)
    code, mid = client.subscribe([(topic, options) for topic in topics])
    if code != paho.MQTT_ERR_SUCCESS or mid is None:
        raise LinkDown(f"the link takes no more messages: {paho.error_string(code)}")
    return mid


def say_goodbye(client: paho.Client, *, with_will: bool, end_session: bool = False) -> None:
    """Disconnect in order; see `Link.stop`."""
    code = ReasonCode(PacketTypes.DISCONNECT, identifier=_GOODBYE_WITH_WILL) if with_will else None
    properties = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]  # paho's is untyped
    if end_session:
        properties.SessionExpiryInterval = 0
    client.disconnect(code, properties)
