"""One subscription of an OPC UA session: the server tells what changes, and every loss is counted."""

from collections.abc import Sequence as Numbers
from math import ceil
from time import monotonic, time_ns

from asyncua import ua
from asyncua.client.ua_client import UaClient
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.ua_binary import struct_from_binary
from asyncua.ua.uaerrors import UaStatusCodeError

from edge.drivers import NotConnected
from edge.drivers.columns import Rows
from edge.drivers.news import News
from edge.drivers.opcua.client import OpcuaSession
from edge.drivers.opcua.filters import Wish, first_wish, has_deadband, next_wish
from edge.drivers.opcua.inside import FAILURES, ask, is_short
from edge.drivers.opcua.losses import LostMessages
from edge.drivers.opcua.notifications import Message
from edge.drivers.opcua.reading import convert_message
from edge.drivers.opcua.sequences import Sequence
from edge.drivers.opcua.settings import OpcuaMachineSettings

KEEP_ALIVE_S = 5.0
LIFETIME_KEEP_ALIVES = 10
QUEUE_MIN, QUEUE_MAX = 100, 10_000
SLOWER_MIN = 1.5
"""A sampling interval that is longer by this is worth a word."""

QUEUE_WAVEFORMS = 4
"""A waveform is thousands of numbers, in the server's memory too."""

QUEUE_INTERVALS = 10
"""How many publish intervals a node's queue holds: a server, or the way to us, may be late."""


class OpcuaSubscription:
    """The tags of one interval, told to `news`; of no more use once its session is gone."""

    def __init__(
        self,
        session: OpcuaSession,
        settings: OpcuaMachineSettings,
        interval_s: float,
        places: Numbers[int],
        news: News,
    ) -> None:
        self._session = session
        self._settings = settings
        self._interval_s = interval_s
        self._news = news
        self._sequence = Sequence()
        self._missing: list[int] = []
        self._gap: LostMessages | None = None
        self._last_ns = 0
        self._heard_s = monotonic()
        self._silence_s_max = 0.0
        self._wants_updates = settings.report == "updates"
        self.id = 0
        self.places = tuple(places)
        """Its tags, by their places in the machine's list."""
        self.watched: set[int] = set()
        """Those that the server has accepted."""
        self.fallen_back: dict[int, Wish] = {}
        """Those whose filter the server refused, and what it takes instead."""
        self.short_queues: dict[int, int] = {}
        """Those of which the server keeps too few values, and how many."""
        self.slow_samples: dict[int, float] = {}
        """Those that the server looks at less often than asked for, and its interval in seconds."""

    def __str__(self) -> str:
        count = len(self.places)
        return f"the subscription of {count} tag{'s' * (count != 1)} every {self._interval_s:g} s"

    async def create(self) -> None:
        """Create it on the server, still without nodes."""
        publish_s = self.publish_s
        keep_alives = max(1, ceil(KEEP_ALIVE_S / publish_s))
        wish = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=1_000 * publish_s,
            RequestedLifetimeCount=LIFETIME_KEEP_ALIVES * keep_alives,
            RequestedMaxKeepAliveCount=keep_alives,
        )
        (granted,) = await self._session.call([wish], self._create)
        self.id = int(granted.SubscriptionId)
        keep_alive_s = granted.RevisedPublishingInterval / 1_000 * granted.RevisedMaxKeepAliveCount
        self._silence_s_max = 2 * keep_alive_s + self._settings.timeout_s
        self._heard_s = monotonic()
        if is_short():
            self._session.publishing.add(self.id, self.take)

    @property
    def publish_s(self) -> float:
        """How often the server is to tell."""
        return max(self._interval_s, self._settings.publish_s or 0.0)

    @property
    def banded(self) -> set[int]:
        """Those whose deadband the server applies."""
        tags = self._settings.tags
        return {place for place in self.watched - self.fallen_back.keys() if has_deadband(tags[place])}

    @property
    def unfiltered(self) -> set[int]:
        """Those of which the server tells no updates, although they are wanted."""
        return {
            place for place, wish in self.fallen_back.items() if wish is Wish.NOTHING and self._wants_updates
        }

    @property
    def silence_s(self) -> float:
        """For how long nothing was heard, not even a keep-alive."""
        return monotonic() - self._heard_s

    def check_alive(self) -> None:
        """Raise `NotConnected` when nothing, not even a keep-alive, has been heard for too long."""
        silence_s = self.silence_s
        if silence_s > self._silence_s_max:
            raise NotConnected(
                f"{self} at {self._settings.url} has been silent for {silence_s:.0f} s, even its keep-alives"
            )

    async def watch(self, places: Numbers[int]) -> dict[int, int]:
        """Add chosen nodes; return the status codes of those that the server refuses."""
        tags = self._settings.tags
        wishes = {place: first_wish(tags[place], wants_updates=self._wants_updates) for place in places}
        refused: dict[int, int] = {}
        while wishes:
            again: dict[int, Wish] = {}
            for place, code in (await self._add_items(wishes)).items():
                wish = next_wish(wishes[place], code, wants_updates=self._wants_updates)
                if wish is None:
                    refused[place] = code
                else:
                    again[place] = self.fallen_back[place] = wish
            wishes = again
        return refused

    async def recover(self) -> None:
        """Ask for the messages that are missing once more; what stays missing is to be taken as lost."""
        for _ in range(len(self._missing)):
            try:
                (told,) = await self._session.call(self._missing[:1], self._republish)
            except NotConnected:
                self.give_up()
                raise
            del self._missing[0]
            if told is None:
                self._count_lost(1)
            elif told.rows is not None:
                self._put(told.rows)

    def give_up(self) -> None:
        """Count as lost what is missing: it cannot be asked for any more."""
        self._count_lost(len(self._missing))
        self._missing = []

    def _count_lost(self, count: int) -> None:
        if self._gap is not None:
            self._gap.lost += count

    def take_lost(self) -> LostMessages | None:
        """Return which messages are lost since the last call; None while some are yet to be asked for."""
        if self._missing:
            return None
        gap, self._gap = self._gap, None
        return gap if gap is not None and gap.lost else None

    def take(self, message: Message) -> None:
        """Note that the server lives; keep what it tells, and which messages are missing before it."""
        self._heard_s = monotonic()
        if message.end:
            self._news.end(f"the server at {self._settings.url} ended {self}: {message.end}")
        if message.rows is None:
            return
        times = message.rows.timestamps
        missing = self._sequence.hear(message.sequence)
        if missing:
            before = self._gap or LostMessages(self.places, self._last_ns, 0)
            self._missing += missing
            last_ns = max(before.last_ns, min(times, default=self._last_ns + 1))
            self._gap = LostMessages(self.places, before.first_ns, last_ns, before.lost)
        if times:
            self._last_ns = max(times)
        self._put(message.rows)

    def _put(self, rows: Rows) -> None:
        if rows.places and max(rows.places) >= len(self._settings.tags):
            self._news.end(f"the server at {self._settings.url} tells of a node that nobody asked for")
        elif rows.places:
            self._news.put(rows)

    async def _create(
        self, client: UaClient, wishes: list[ua.CreateSubscriptionParameters]
    ) -> list[ua.CreateSubscriptionResult]:
        if not is_short():
            return [await client.create_subscription(wish, self._take_result) for wish in wishes]
        # Below asyncua's create_subscription: it would begin its own publish loop.
        answers = [await ask(client, ua.CreateSubscriptionRequest(Parameters=wish)) for wish in wishes]
        responses = [struct_from_binary(ua.CreateSubscriptionResponse, answer) for answer in answers]
        for response in responses:
            response.ResponseHeader.ServiceResult.check()
        return [response.Parameters for response in responses]

    def _take_result(self, result: ua.PublishResult) -> None:
        try:
            self.take(convert_message(self.id, result.NotificationMessage, time_ns()))
        except FAILURES as error:  # asyncua would only log it, and the values would be gone
            self._news.end(f"the server at {self._settings.url} tells what cannot be read: {error!r}")

    async def _republish(self, client: UaClient, numbers: list[int]) -> list[Message | None]:
        found: list[Message | None] = []
        for number in numbers:
            try:
                found.append(
                    convert_message(self.id, await client.session.republish(self.id, number), time_ns())
                )
            except UaStatusCodeError:  # it is not kept any more, or Republish is not offered
                found.append(None)
        return found

    async def _add_items(self, wishes: dict[int, Wish]) -> dict[int, int]:
        items = [self._make_item(place, wish) for place, wish in wishes.items()]
        results = await self._session.call(items, self._create_items)
        refused = {}
        for place, result in zip(wishes, results, strict=True):
            if not result.StatusCode.is_good():
                refused[place] = int(result.StatusCode.value)
                continue
            self.watched.add(place)
            if result.RevisedSamplingInterval > SLOWER_MIN * 1_000 * self._interval_s:
                self.slow_samples[place] = result.RevisedSamplingInterval / 1_000
            if 0 < result.RevisedQueueSize < self.publish_s / self._interval_s:
                self.short_queues[place] = int(result.RevisedQueueSize)
        return refused

    async def _create_items(
        self, client: UaClient, items: list[ua.MonitoredItemCreateRequest]
    ) -> list[ua.MonitoredItemCreateResult]:
        wish = ua.CreateMonitoredItemsParameters(
            SubscriptionId=self.id,
            TimestampsToReturn=ua.TimestampsToReturn.Both,
            ItemsToCreate=items,
        )
        return await client.create_monitored_items(wish)

    def _make_item(self, place: int, wish: Wish) -> ua.MonitoredItemCreateRequest:
        size = min(QUEUE_MAX, max(QUEUE_MIN, QUEUE_INTERVALS * ceil(self.publish_s / self._interval_s)))
        if self._settings.tags[place].waveform is not None:
            size = QUEUE_WAVEFORMS
        return ua.MonitoredItemCreateRequest(
            ItemToMonitor=ua.ReadValueId(NodeId=self._session.chosen[place], AttributeId=AttributeIds.Value),
            MonitoringMode=ua.MonitoringMode.Reporting,
            RequestedParameters=ua.MonitoringParameters(
                ClientHandle=place,
                SamplingInterval=1_000 * self._interval_s,
                QueueSize=self._settings.queue_max or size,
                DiscardOldest=True,
                Filter=self._make_filter(place, wish),
            ),
        )

    def _make_filter(self, place: int, wish: Wish) -> ua.DataChangeFilter | None:
        tag = self._settings.tags[place]
        if wish is Wish.NOTHING:
            return None
        if wish is Wish.UPDATES:  # without it a value that is measured again and found the same is not told
            return ua.DataChangeFilter(Trigger=ua.DataChangeTrigger.StatusValueTimestamp)
        of_range = tag.deadband_percent_of_range
        return ua.DataChangeFilter(
            Trigger=ua.DataChangeTrigger.StatusValue,
            DeadbandType=ua.DeadbandType.Percent if of_range else ua.DeadbandType.Absolute,
            DeadbandValue=of_range or tag.deadband or 0.0,
        )
