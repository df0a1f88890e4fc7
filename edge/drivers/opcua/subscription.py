"""A subscription of an OPC UA session: the server tells what changes, nothing is dropped without a count."""

from collections.abc import Sequence
from math import ceil
from time import time_ns

from asyncua import ua
from asyncua.client.ua_client import UaClient
from asyncua.ua.attribute_ids import AttributeIds

from edge.drivers.columns import has_overflowed
from edge.drivers.news import News
from edge.drivers.opcua.client import FAILURES, OpcuaSession
from edge.drivers.opcua.reading import code_of, observe
from edge.drivers.opcua.settings import OpcuaMachineSettings

KEEP_ALIVE_S = 5.0

# BadMonitoredItemFilterUnsupported, BadFilterNotAllowed, BadMonitoredItemFilterInvalid
_FILTER_REFUSALS = (0x80440000, 0x80450000, 0x80430000)


class OpcuaSubscription:
    """One subscription that tells `news`; of no more use once its session is gone."""

    def __init__(self, session: OpcuaSession, settings: OpcuaMachineSettings, news: News) -> None:
        self._session = session
        self._settings = settings
        self._news = news
        self._id = 0
        self._watched: list[str] = []
        self._tells_updates = settings.report == "updates"
        self.silence_s_max = 0.0
        """A live subscription is never silent for longer."""

    async def create(self) -> None:
        """Create it on the server, still without nodes."""
        keep_alives = max(1, ceil(KEEP_ALIVE_S / self._settings.interval_s))
        wish = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=1_000 * self._settings.interval_s,
            RequestedLifetimeCount=10 * keep_alives,
            RequestedMaxKeepAliveCount=keep_alives,
        )
        (granted,) = await self._session.call([wish], self._create)
        self._id = granted.SubscriptionId
        keep_alive_s = granted.RevisedPublishingInterval / 1_000 * granted.RevisedMaxKeepAliveCount
        self.silence_s_max = 2 * keep_alive_s + self._settings.timeout_s

    async def watch(self, names: Sequence[str]) -> dict[str, int]:
        """Add chosen nodes; return the status codes of those that the server refuses."""
        refused = await self._add_items(names)
        unfiltered = [name for name, code in refused.items() if code in _FILTER_REFUSALS]
        if unfiltered:  # a small server that tells of changes only
            self._tells_updates = False
            refused = {name: refused[name] for name in refused.keys() - unfiltered}
            refused |= await self._add_items(unfiltered)
        return refused

    async def _create(
        self, client: UaClient, wishes: list[ua.CreateSubscriptionParameters]
    ) -> list[ua.CreateSubscriptionResult]:
        # Below asyncua's Subscription, which either drops silently or starts a task per value.
        return [await client.create_subscription(wish, self._take_publish) for wish in wishes]

    async def _add_items(self, names: Sequence[str]) -> dict[str, int]:
        first = len(self._watched)
        self._watched += names
        items = [self._make_item(first + at, self._session.chosen[name]) for at, name in enumerate(names)]
        results = await self._session.call(items, self._create_items)
        return {
            name: result.StatusCode.value
            for name, result in zip(names, results, strict=True)
            if not result.StatusCode.is_good()
        }

    async def _create_items(
        self, client: UaClient, items: list[ua.MonitoredItemCreateRequest]
    ) -> list[ua.MonitoredItemCreateResult]:
        wish = ua.CreateMonitoredItemsParameters(
            SubscriptionId=self._id,
            TimestampsToReturn=ua.TimestampsToReturn.Both,
            ItemsToCreate=items,
        )
        return await client.create_monitored_items(wish)

    def _make_item(self, client_handle: int, node: ua.NodeId) -> ua.MonitoredItemCreateRequest:
        # Without this filter a value that is measured again and found the same is not told.
        updates = ua.DataChangeFilter(Trigger=ua.DataChangeTrigger.StatusValueTimestamp)
        return ua.MonitoredItemCreateRequest(
            ItemToMonitor=ua.ReadValueId(NodeId=node, AttributeId=AttributeIds.Value),
            MonitoringMode=ua.MonitoringMode.Reporting,
            RequestedParameters=ua.MonitoringParameters(
                ClientHandle=client_handle,
                SamplingInterval=1_000 * self._settings.interval_s,
                QueueSize=self._settings.queue_max,
                DiscardOldest=True,
                Filter=updates if self._tells_updates else None,
            ),
        )

    def _take_publish(self, result: ua.PublishResult) -> None:
        try:
            self._take_message(result.NotificationMessage)
        except FAILURES as error:  # asyncua would only log it, and the values would be gone
            where = f"the server at {self._settings.url}"
            self._news.end(f"{where} tells what cannot be read: {error!r}")

    def _take_message(self, message: ua.NotificationMessage) -> None:
        """Called by asyncua's publish loop with each response; a keep-alive has no notifications."""
        news = self._news
        notifications = message.NotificationData or []
        news.hear(message.SequenceNumber if notifications else None)
        now_ns = time_ns()
        for notification in notifications:
            if isinstance(notification, ua.StatusChangeNotification):
                where = f"the server at {self._settings.url}"
                news.end(f"{where} ended the subscription: {notification.Status.name}")
            elif isinstance(notification, ua.DataChangeNotification):
                items = notification.MonitoredItems
                overflows = sum(has_overflowed(code_of(item.Value)) for item in items)
                if overflows:
                    news.count_loss("server_queue_full", overflows)
                news.put([observe(self._watched[item.ClientHandle], item.Value, now_ns) for item in items])
