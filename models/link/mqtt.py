"""One MQTT 5 connection that keeps itself up; the only file that knows paho."""

import logging
import socket
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from models.link.acks import AckOrder
from models.link.goodbye import await_close
from models.link.limits import RETAIN_REFUSED, BrokerLimits, read_limits
from models.link.messages import LinkDown, LinkMessage, LinkState, PacketTooLarge, Will
from models.link.reasons import (
    explain_connect_error,
    explain_loss,
    explain_no_acknowledgements,
    explain_refusal,
)
from models.link.settings import BrokerSettings
from models.link.takeovers import SLOW_RETRY_S, Takeovers
from models.link.tls import make_tls_context

NO_MATCHING_SUBSCRIBERS = 16
RECONNECT_DELAY_S_MAX = 4
_GOODBYE_WITH_WILL = 4  # MQTT 5, 3.14.2.1


class Link:
    """An MQTT 5 client in a thread of its own that reconnects by itself and never raises into that thread.

    The callbacks run in the link's thread and must return at once: `on_message(message)`;
    `on_state(state)` at every connect, refusal and loss; `on_delivered(mid, reason_code)` at each PUBACK,
    where a code of 128 or more, or `NO_MATCHING_SUBSCRIBERS`, means that nobody has it, and at each answer
    that `ask_broker` asked for. `renew_will()`, before each CONNECT, returns the will of that connection.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        client_id: str,
        *,
        on_message: Callable[[LinkMessage], None] | None = None,
        on_state: Callable[[LinkState], None] | None = None,
        on_delivered: Callable[[int, int], None] | None = None,
        subscriptions: Sequence[str] = (),
        will: Will | None = None,
        renew_will: Callable[[], Will] | None = None,
        inflight_max: int = 20,
        receive_max: int = 100,
        session_expiry_s: int = 0,
    ) -> None:
        self._settings = settings
        self._client_id = client_id
        self._on_message = on_message or _ignore
        self._on_state = on_state or _ignore
        self._on_delivered = on_delivered or _ignore
        self._subscriptions = list(subscriptions)
        self._will = will
        self._renew_will = renew_will
        self._inflight_max = inflight_max
        self._receive_max = receive_max
        self._session_expiry_s = session_expiry_s
        self._takeovers = Takeovers()
        self._acks = AckOrder()
        self._leaving = False
        self._client: paho.Client | None = None
        self._limits = BrokerLimits()
        self.certificate_shown: bytes | None = None
        """What the broker showed at the last connect over TLS (DER)."""

    def start(self) -> None:
        """Begin to connect, in the background and for ever."""
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=paho.MQTTv5,
            manual_ack=True,
        )
        # A callback that raises would kill paho's thread without a word; this logs the error and goes on.
        client.suppress_exceptions = True
        client.enable_logger(_quiet_logger())
        client.max_inflight_messages_set(self._inflight_max)
        client.reconnect_delay_set(1, RECONNECT_DELAY_S_MAX)
        if self._settings.username is not None:
            password = self._settings.password.read() if self._settings.password else None
            client.username_pw_set(self._settings.username, password)
        if self._settings.tls is not None:
            client.tls_set_context(make_tls_context(self._settings.tls))
        if self._will is not None:
            _set_will(client, self._will)
        client.on_connect = self._connected
        client.on_connect_fail = self._connect_failed
        client.on_disconnect = self._disconnected
        client.on_message = self._arrived
        client.on_publish = self._published
        client.on_socket_open = self._opened
        client.on_socket_close = self._closing
        client.on_subscribe = self._answered
        self._client = client
        client.connect_async(
            self._settings.host,
            self._settings.port,
            keepalive=self._settings.keepalive_s,
            clean_start=self._session_expiry_s == 0,
            properties=self._connect_properties(),
        )
        client.loop_start()

    def stop(self, *, with_will: bool = False, end_session: bool = False) -> None:
        """Say goodbye (so that the will is not published, unless `with_will`) and end the thread.

        With `end_session` the broker keeps nothing for us, whatever `session_expiry_s` was.
        """
        self._leaving = True
        if self._client is not None:
            code = ReasonCode(PacketTypes.DISCONNECT, identifier=_GOODBYE_WITH_WILL) if with_will else None
            properties = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]  # paho's is untyped
            if end_session:
                properties.SessionExpiryInterval = 0
            self._client.disconnect(code, properties)
            self._client.loop_stop()

    def unsubscribe(self) -> None:
        """Ask for no more messages; those that the broker has put by for us still come."""
        topics, self._subscriptions = self._subscriptions, []
        if self._client is not None and topics:
            self._client.unsubscribe(topics)

    def is_connected(self) -> bool:
        """Return whether the broker has accepted the connection that stands now."""
        return self._client is not None and self._client.is_connected() and self._limits.acknowledges

    def is_alive(self) -> bool:
        """Return whether the link's thread runs; a supervisor restarts a link whose thread died."""
        thread = getattr(self._client, "_thread", None)
        return thread is not None and thread.is_alive()

    @property
    def packet_bytes_max(self) -> int | None:
        """The largest packet the broker takes (CONNACK's Maximum Packet Size), None without a limit."""
        return self._limits.packet_bytes_max

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, qos: int = 1) -> int:
        """Hand a message to the broker; return the id that `on_delivered` will name.

        Raises `LinkDown` without a connection: what paho would queue in memory stays with the caller.
        `PacketTooLarge` is one, too: a broker drops the connection over such a packet, again and again.
        """
        if self._client is None or not self.is_connected():
            raise LinkDown(f"no connection to the broker at {self._settings.address}")
        if not self._limits.takes(topic, payload):
            raise PacketTooLarge(f"the broker takes packets of {self.packet_bytes_max} bytes at most")
        # A broker that retains nothing ends the connection over a message that asks for it.
        sent = self._client.publish(topic, payload, qos=qos, retain=retain and self._limits.retains)
        # NO_CONN here means that the link broke this instant: paho has queued QoS 1 and will send it.
        if sent.rc != paho.MQTT_ERR_SUCCESS and (qos == 0 or sent.rc != paho.MQTT_ERR_NO_CONN):
            raise LinkDown(f"the link takes no more messages: {paho.error_string(sent.rc)}")
        return sent.mid

    def ask_broker(self) -> int:
        """Subscribe once more to what is subscribed to; return the id that `on_delivered` will name.

        A broker reads a connection in order, so its answer says that it has read all that was published
        before, QoS 0 too. What it retains is not sent again. Raises `LinkDown`.
        """
        if self._client is None or not self._client.is_connected():
            raise LinkDown(f"no connection to the broker at {self._settings.address}")
        code, mid = self._subscribe(self._client, SubscribeOptions.RETAIN_DO_NOT_SEND)
        if code != paho.MQTT_ERR_SUCCESS or mid is None:
            raise LinkDown(f"the link takes no more messages: {paho.error_string(code)}")
        return mid

    def acknowledge(self, message: LinkMessage) -> None:
        """Tell the broker that `message` is taken care of, as soon as all that came before it are."""
        if self._client is not None:
            for mid in self._acks.settle(message.mid):
                self._client.ack(mid, message.qos)

    def _connect_properties(self) -> Properties:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's is untyped
        properties.ReceiveMaximum = self._receive_max
        properties.SessionExpiryInterval = self._session_expiry_s
        return properties

    def _connected(
        self,
        client: paho.Client,
        _userdata: Any,
        _flags: paho.ConnectFlags,
        code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if code.value == RETAIN_REFUSED and self._will is not None:
            _set_will(client, msgspec.structs.replace(self._will, retain=False))
        if code.is_failure:
            self._on_state(LinkState(False, explain_refusal(self._settings, code.value, str(code))))
            return
        self._takeovers.connect(time.monotonic())
        self._acks.clear()
        self._limits = read_limits(properties)
        # paho's own setter refuses while connected, and before that nobody knows what the broker takes.
        client._max_inflight_messages = min(  # noqa: SLF001  # see above
            self._inflight_max, self._limits.inflight_max
        )
        if not self._limits.acknowledges:
            self._on_state(LinkState(False, explain_no_acknowledgements(self._settings)))
            return
        if self._subscriptions:
            self._subscribe(client, SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE)
        self._on_state(LinkState(True, ""))

    def _subscribe(self, client: paho.Client, retained: int) -> tuple[MQTTErrorCode, int | None]:
        options = SubscribeOptions(qos=1, retainHandling=retained)
        return client.subscribe([(topic, options) for topic in self._subscriptions])

    def _opened(self, client: paho.Client, _userdata: Any, sock: Any) -> None:
        """The way to the broker is open, and the CONNECT is written next."""
        _limit_silence(client, sock)
        if isinstance(sock, ssl.SSLSocket):
            self.certificate_shown = sock.getpeercert(binary_form=True)
        if self._renew_will is not None:
            _set_will(client, self._renew_will())

    def _closing(self, _client: paho.Client, _userdata: Any, sock: Any) -> None:
        """The connection is about to be closed."""
        if self._leaving:
            await_close(sock)

    def _connect_failed(self, client: paho.Client, _userdata: Any) -> None:
        # paho calls this from inside its `except` block and does not pass the error on.
        error = sys.exc_info()[1]
        if self._takeovers.is_contested:
            client.reconnect_delay_set(1, RECONNECT_DELAY_S_MAX)
        self._takeovers.miss()
        self._on_state(LinkState(False, explain_connect_error(self._settings, error)))

    def _disconnected(
        self, client: paho.Client, _userdata: Any, _flags: Any, code: ReasonCode, _properties: Any
    ) -> None:
        self._takeovers.lose(time.monotonic(), code.value)
        contested = self._takeovers.is_contested
        if contested:
            client.reconnect_delay_set(SLOW_RETRY_S, SLOW_RETRY_S)
        else:
            client.reconnect_delay_set(1, RECONNECT_DELAY_S_MAX)
        reason = explain_loss(self._settings, self._client_id, code.value, str(code), contested=contested)
        self._on_state(LinkState(False, reason))

    def _arrived(self, _client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        self._acks.arrive(message.mid)
        self._on_message(LinkMessage(message.topic, bytes(message.payload), message.mid, message.qos))

    def _published(
        self, _client: paho.Client, _userdata: Any, mid: int, code: ReasonCode, _properties: Any
    ) -> None:
        self._on_delivered(mid, code.value)

    def _answered(
        self, _client: paho.Client, _userdata: Any, mid: int, _codes: Any, _properties: Any
    ) -> None:
        self._on_delivered(mid, 0)


def _ignore(*_facts: object) -> None:
    """What a caller that does not care gets called."""


def _set_will(client: paho.Client, will: Will) -> None:
    client.will_set(will.topic, will.payload, qos=1, retain=will.retain)


def _limit_silence(client: paho.Client, sock: Any) -> None:
    """Let the kernel give up on unanswered packets within two keepalives, not after a quarter of an hour."""
    if hasattr(socket, "TCP_USER_TIMEOUT") and hasattr(sock, "setsockopt"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 2000 * client.keepalive)


def _quiet_logger() -> logging.Logger:
    """Return a logger that lets through errors in our callbacks; of the link itself `on_state` tells once."""
    logger = logging.getLogger("forewarn.link")
    logger.setLevel(logging.ERROR)
    if not logger.filters:
        logger.addFilter(lambda record: str(record.msg).startswith("Caught exception"))
    return logger
