"""Follows a machine by subscriptions, one for each interval of its tags, and knows what they did not tell."""

from collections.abc import Sequence
from time import monotonic, time_ns

from edge.drivers import NotConnected
from edge.drivers.columns import Rows
from edge.drivers.news import News
from edge.drivers.opcua.client import OpcuaSession
from edge.drivers.opcua.heartbeats import Heartbeats
from edge.drivers.opcua.items import count_items
from edge.drivers.opcua.losses import Losses
from edge.drivers.opcua.sayings import Sayings, name_tags
from edge.drivers.opcua.settings import OpcuaMachineSettings
from edge.drivers.opcua.subscription import OpcuaSubscription
from edge.drivers.probing import ProbeClock


class Following:
    """The subscriptions of one session, of no more use once that is gone."""

    def __init__(
        self,
        session: OpcuaSession,
        settings: OpcuaMachineSettings,
        groups: Sequence[tuple[float, Sequence[int]]],
        sayings: Sayings,
    ) -> None:
        self._session = session
        self._settings = settings
        self._sayings = sayings
        self._news = News()
        self._probes = ProbeClock()
        self._subscriptions = [
            OpcuaSubscription(session, settings, interval_s, places, self._news)
            for interval_s, places in groups
        ]
        self._unwatched: set[int] = set()
        self._heartbeats: Heartbeats | None = None
        self._end = ""
        session.tell_end = self._news.end

    @property
    def watched(self) -> set[int]:
        """The places of the tags that the server has accepted."""
        return {place for one in self._subscriptions for place in one.watched}

    @property
    def silence_s(self) -> float:
        """For how long the most silent of the subscriptions has said nothing, not even a keep-alive."""
        return max(one.silence_s for one in self._subscriptions)

    async def begin(self) -> None:
        """Create the subscriptions and their items, and count these; raise `NotConnected`."""
        for one in self._subscriptions:
            await one.create()
            await self._watch(one, [place for place in one.places if place in self._session.chosen])
            forgotten = one.watched - await count_items(self._session, one.id, one.watched)
            if forgotten:
                one.watched -= forgotten
                self._unwatched |= forgotten
                self._say("items_forgotten", forgotten, f"the server accepted them, and {one} lacks them")
        if self._unwatched:
            self._probes.begin(monotonic())
        self._begin_heartbeats()
        self._say_what_is_less()

    async def next_rows(self, wait_s: float) -> list[Rows]:
        """Wait for news; raise `NotConnected` once one subscription is gone. What has come is told before."""
        if self._end:
            raise NotConnected(self._end)
        try:
            if self._probes.is_due(monotonic()):
                await self._watch_again()
            if self._heartbeats is not None:
                await self._heartbeats.read(monotonic())
            await self._news.wait(wait_s)
            for one in self._subscriptions:
                await one.recover()
                one.check_alive()
        except NotConnected as error:
            self._end = str(error)
            for one in self._subscriptions:
                one.give_up()
            rows = self._news.take()
            if not rows:
                raise
            return rows
        return self._news.take()

    def take_heartbeats(self) -> Rows | None:
        """Return what resting tags said when they were read; some may have spoken since."""
        return None if self._heartbeats is None else self._heartbeats.take(monotonic())

    def _begin_heartbeats(self) -> None:
        """Read what a deadband of the server keeps from us, as often as its repeats are wanted."""
        banded = sorted(place for one in self._subscriptions for place in one.banded)
        if banded:
            every_s = min(self._settings.tags[place].heartbeat_s for place in banded)
            hold_s = 2 * max(one.publish_s for one in self._subscriptions)
            self._heartbeats = Heartbeats(
                self._session, banded, every_s=every_s, hold_s=hold_s, now_s=monotonic()
            )

    def note_losses(self, losses: Losses) -> None:
        """Add what is missing since the last call."""
        for one in self._subscriptions:
            lost = one.take_lost()
            if lost is not None:
                losses.note_messages(lost)
        dropped = self._news.take_dropped()
        if dropped is not None:
            losses.note_dropped(dropped)

    async def _watch_again(self) -> None:
        before = len(self._unwatched)
        for one in self._subscriptions:
            await self._watch(one, [place for place in one.places if place in self._unwatched])
        if not self._unwatched:
            self._probes.reset()
        elif len(self._unwatched) == before:
            self._probes.back_off(monotonic())

    async def _watch(self, subscription: OpcuaSubscription, places: Sequence[int]) -> None:
        """Subscribe to tags; what the server refuses comes back as bad, and is tried again later."""
        if not places:
            return
        refused = await subscription.watch(places)
        self._unwatched = (self._unwatched - set(places)) | refused.keys()
        rows = Rows()
        for place, code in refused.items():
            rows.add(place, time_ns(), None, code)
        if refused:
            self._news.put(rows)

    def _say_what_is_less(self) -> None:
        """Say which tags the server treats otherwise than asked for."""
        tags = self._settings.tags
        refused = {place for one in self._subscriptions for place in one.fallen_back}
        banded = {place for place in refused if tags[place].deadband}
        if banded:
            self._say("deadband_refused", banded, "the server has no deadband: the gateway's own is used")
        of_range = {place for place in refused if tags[place].deadband_percent_of_range}
        if of_range:
            reason = (
                "the server has none in per cent of a range, so every change comes: say deadband, in the unit"
            )
            self._say("deadband_of_range_refused", of_range, reason)
        unfiltered = {place for one in self._subscriptions for place in one.unfiltered}
        if unfiltered:
            reason = (
                "the server tells of changes only, not of a value that was measured again and is the same"
            )
            self._say("updates_refused", unfiltered, reason)
        short = {place: size for one in self._subscriptions for place, size in one.short_queues.items()}
        if short:
            reason = f"the server keeps {min(short.values())} values of a tag: less than come in publish_s"
            self._say("queue_too_short", set(short), reason)

        slow = {place: s for one in self._subscriptions for place, s in one.slow_samples.items()}
        if slow:
            reason = (
                f"the server looks at them every {max(slow.values()):g} s at most: what is between is lost"
            )
            self._say("sampled_slower", set(slow), reason)

    def _say(self, event: str, places: set[int], reason: str) -> None:
        names = [self._settings.tags[place].name for place in sorted(places)]
        self._sayings.warn_once(event, "", **name_tags(names), reason=reason)
