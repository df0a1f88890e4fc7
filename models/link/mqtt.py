"""One MQTT 5 connection that keeps itself up; with `packets` all that knows paho."""

import ssl
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from models.link.acks import AckOrder
from models.link.goodbye import await_close
from models.link.limits import RETAIN_REFUSED, BrokerLimits, read_limits
from models.link.messages import LinkDown, LinkMessage, LinkState, PacketTooLarge, Will
from models.link.packets import connect_properties, publish, say_goodbye, set_credentials, set_will, subscribe
from models.link.quiet import limit_silence, make_quiet_logger
from models.link.reasons import (
    explain_connect_error,
    explain_loss,
    explain_no_acknowledgements,
    explain_refusal,
)
from models.link.settings import BrokerSettings
from models.link.shortcut import ShortcutClient
from models.link.takeovers import SLOW_RETRY_S, Takeovers
from models.link.turning import Pauses, Turner

NO_MATCHING_SUBSCRIBERS = 16
RECONNECT_DELAY_S_MAX = 4


class Link:
    """An MQTT 5 client that reconnects by itself and never raises into the thread or the loop that turns it.

    The callbacks run in the link's thread (`start`) or its loop (`start_in_loop`) and must return at once:
    `on_message(message)`; `on_state(state)` at every connect, refusal and loss; `on_delivered(mid, code)` at
    each PUBACK, where a code of 128 or more, or `NO_MATCHING_SUBSCRIBERS`, means that nobody has it, and at
    each answer that `ask_broker` asked for. `renew_will()`, before each CONNECT, returns its will.
    In a loop a lost connection takes along what was unanswered; with a thread the next one sends it again.
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
        self._shortcut: ShortcutClient | None = None
        """The client where a loop turns it."""
        self._pauses = Pauses()
        self._turner: Turner | None = None
        self._limits = BrokerLimits()
        self.certificate_shown: bytes | None = None
        """What the broker showed at the last connect over TLS (DER)."""

    def start(self) -> None:
        """Begin to connect, in a thread of the link's own and for ever."""
        self._client = client = paho.Client(
            CallbackAPIVersion.VERSION2, self._client_id, protocol=paho.MQTTv5, manual_ack=True
        )
        self._prepare(client)
        client.loop_start()

    def start_in_loop(self, after: Callable[[], None] | None = None) -> None:
        """Begin to connect, in the running loop, where all calls belong then; `after` follows each swarm."""
        self._client = self._shortcut = client = ShortcutClient(
            self._client_id, on_taken=self._take, on_answered=partial(self._tell, self._on_delivered)
        )
        self._prepare(client)
        self._turner = Turner(client, self._pauses, self._fail, after or _ignore)

    def _prepare(self, client: paho.Client) -> None:
        # A callback that raises would kill paho's thread without a word; this logs the error and goes on.
        client.suppress_exceptions = True
        client.enable_logger(make_quiet_logger())
        client.max_inflight_messages_set(self._inflight_max)
        self._set_pauses(client, 1, RECONNECT_DELAY_S_MAX)
        set_credentials(client, self._settings)
        if self._will is not None:
            set_will(client, self._will)
        client.on_connect = self._connected
        client.on_connect_fail = self._connect_failed
        client.on_disconnect = self._disconnected
        client.on_message = self._arrived
        client.on_publish = self._published
        client.on_socket_open = self._opened
        client.on_socket_close = self._closing
        client.on_subscribe = self._answered
        client.connect_async(
            self._settings.host,
            self._settings.port,
            keepalive=self._settings.keepalive_s,
            clean_start=self._session_expiry_s == 0,
            properties=connect_properties(self._receive_max, self._session_expiry_s),
        )

    def stop(self, *, with_will: bool = False, end_session: bool = False) -> None:
        """Say goodbye (so that the will is not published, unless `with_will`) and end the thread.

        With `end_session` the broker keeps nothing for us, whatever `session_expiry_s` was.
        """
        self._leaving = True
        if self._client is not None:
            say_goodbye(self._client, with_will=with_will, end_session=end_session)
            self._client.loop_stop()

    def unsubscribe(self) -> None:
        """Ask for no more messages; those that the broker has put by for us still come."""
        topics, self._subscriptions = self._subscriptions, []
        if self._client is not None and topics:
            self._client.unsubscribe(topics)

    async def leave(self, *, with_will: bool = False) -> None:
        """Say goodbye as `stop` does, in the loop; cancel it where the broker does not even read that."""
        if self._client is not None and self._turner is not None:
            await self._turner.leave(partial(say_goodbye, self._client, with_will=with_will))

    def is_connected(self) -> bool:
        """Return whether the broker has accepted the connection that stands now."""
        return self._client is not None and self._client.is_connected() and self._limits.acknowledges

    def is_alive(self) -> bool:
        """Return whether the link's thread or task runs; a supervisor restarts a link that died."""
        if self._turner is not None:
            return self._turner.is_alive
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
        retain = retain and self._limits.retains  # else such a broker ends the connection over it
        short = self._shortcut if qos == 1 else None
        mid = short.send_message(topic, payload, retain=retain) if short is not None else None
        if mid is None:
            mid = publish(self._client, topic, payload, qos=qos, retain=retain)
        self._see_it_written()
        return mid

    def ask_broker(self) -> int:
        """Subscribe once more to what is subscribed to; return the id that `on_delivered` will name.

        A broker reads a connection in order, so its answer says that it has read all that was published
        before, QoS 0 too. What it retains is not sent again. Raises `LinkDown`.
        """
        if self._client is None or not self._client.is_connected():
            raise LinkDown(f"no connection to the broker at {self._settings.address}")
        mid = subscribe(self._client, self._subscriptions, sends_retained=False)
        self._see_it_written()
        return mid

    def acknowledge(self, message: LinkMessage) -> None:
        """Tell the broker that `message` is taken care of, as soon as all that came before it are."""
        settled = self._acks.settle(message.mid) if message.qos else []
        if self._client is None or not settled:
            return
        if self._shortcut is not None:
            self._shortcut.send_acks(settled)
        else:
            for mid in settled:
                self._client.ack(mid, message.qos)
        self._see_it_written()

    def _see_it_written(self) -> None:
        if self._turner is not None:
            self._turner.wrote()

    def _tell(self, callback: Callable[..., None], *facts: object) -> None:
        if self._turner is None:
            callback(*facts)
        else:
            self._turner.post(partial(callback, *facts))

    def _tell_down(self, reason: str) -> None:
        self._tell(self._on_state, LinkState(False, reason))

    def _set_pauses(self, client: paho.Client, first_s: int, longest_s: int) -> None:
        client.reconnect_delay_set(first_s, longest_s)
        self._pauses.set(first_s, longest_s)

    def _connected(
        self, client: paho.Client, _userdata: Any, _flags: Any, code: ReasonCode, properties: Any
    ) -> None:
        if code.value == RETAIN_REFUSED and self._will is not None:
            set_will(client, msgspec.structs.replace(self._will, retain=False))
        if code.is_failure:
            self._tell_down(explain_refusal(self._settings, code.value, str(code)))
            return
        self._takeovers.connect(time.monotonic())
        self._acks.clear()
        self._limits = read_limits(properties)
        inflight_max = min(self._inflight_max, self._limits.inflight_max)
        if self._shortcut is not None:
            self._shortcut.limit_inflight(inflight_max)
        else:
            # paho's own setter refuses while connected, and before that nobody knows what the broker takes.
            client._max_inflight_messages = inflight_max  # noqa: SLF001  # see above
        if not self._limits.acknowledges:
            self._tell_down(explain_no_acknowledgements(self._settings))
            return
        if self._subscriptions:
            with suppress(LinkDown):  # gone again: the next connection subscribes
                subscribe(client, self._subscriptions)
        self._tell(self._on_state, LinkState(True, ""))

    def _opened(self, client: paho.Client, _userdata: Any, sock: Any) -> None:
        """The way to the broker is open, and the CONNECT is written next."""
        limit_silence(sock, client.keepalive)
        if self._shortcut is not None:
            self._shortcut.begin_anew()
        if isinstance(sock, ssl.SSLSocket):
            self.certificate_shown = sock.getpeercert(binary_form=True)
        if self._renew_will is not None:
            set_will(client, self._renew_will())

    def _closing(self, _client: paho.Client, _userdata: Any, sock: Any) -> None:
        """The connection is about to be closed."""
        if self._turner is not None:
            self._turner.let_go(sock)
        elif self._leaving:
            await_close(sock)

    def _connect_failed(self, _client: paho.Client, _userdata: Any) -> None:
        # paho calls this from inside its `except` block and does not pass the error on.
        self._fail(sys.exc_info()[1])

    def _fail(self, error: BaseException | None) -> None:
        if self._takeovers.is_contested and self._client is not None:
            self._set_pauses(self._client, 1, RECONNECT_DELAY_S_MAX)
        self._takeovers.miss()
        self._tell_down(explain_connect_error(self._settings, error))

    def _disconnected(
        self, client: paho.Client, _userdata: Any, _flags: Any, code: ReasonCode, _properties: Any
    ) -> None:
        self._takeovers.lose(time.monotonic(), code.value)
        contested = self._takeovers.is_contested
        self._set_pauses(client, *((SLOW_RETRY_S, SLOW_RETRY_S) if contested else (1, RECONNECT_DELAY_S_MAX)))
        self._tell_down(
            explain_loss(self._settings, self._client_id, code.value, str(code), contested=contested)
        )

    def _arrived(self, _client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        self._take(LinkMessage(message.topic, bytes(message.payload), message.mid, message.qos))

    def _take(self, message: LinkMessage) -> None:
        if message.qos:
            self._acks.arrive(message.mid)
        self._tell(self._on_message, message)

    def _published(self, _client: Any, _userdata: Any, mid: int, code: ReasonCode, _more: Any) -> None:
        self._tell(self._on_delivered, mid, code.value)

    def _answered(self, _client: paho.Client, _userdata: Any, mid: int, _codes: Any, _more: Any) -> None:
        self._tell(self._on_delivered, mid, 0)


def _ignore(*_facts: object) -> None:
    """What a caller that does not care gets called."""
