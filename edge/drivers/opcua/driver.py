"""Follows a machine's tags on an OPC UA server: finds their nodes, passes on what is new as frames."""

from collections.abc import Iterable, Sequence
from time import monotonic, time_ns

import structlog

from edge.drivers import NotConnected
from edge.drivers.columns import Observation, RepeatFilter, gather_frames
from edge.drivers.news import News
from edge.drivers.opcua.addresses import find_addresses, find_near
from edge.drivers.opcua.certificates import find_warning, read_clock
from edge.drivers.opcua.client import NODES_PER_CALL_MAX, OpcuaSession
from edge.drivers.opcua.settings import OpcuaMachineSettings, is_loopback
from edge.drivers.opcua.subscription import OpcuaSubscription
from edge.drivers.probing import ProbeClock
from models.telemetry import Frame, quality

CERTIFICATES_S = 3600.0
"""How often a lasting session's certificates are looked at."""

log = structlog.get_logger()

_BAD_NODE_ID_INVALID = 0x80330000
_NO_SUCH_NODE = (quality.BAD_NODE_ID_UNKNOWN, _BAD_NODE_ID_INVALID)


class OpcuaDriver:
    """The driver of one machine, by subscription or by polling.

    By subscription, `read` returns once the server has told of changes, and after `interval_s` without frames
    if it has not. By polling, a `read` is one bulk Read; what has not changed since the last is left out.
    """

    def __init__(self, settings: OpcuaMachineSettings) -> None:
        self.interval_s: float | None = settings.interval_s if settings.mode == "poll" else None
        self._settings = settings
        self._session: OpcuaSession | None = None
        self._subscription: OpcuaSubscription | None = None
        self._nodes_per_call = NODES_PER_CALL_MAX
        self._news = News()
        self._repeats = RepeatFilter()
        self._pending: list[Observation] = []
        self._unwatched: Sequence[str] = ()
        self._probes = ProbeClock()
        self._said: set[tuple[str, str]] = set()
        self._certificates_due_s = 0.0

    async def connect(self) -> None:
        """Open a session, find the nodes, begin the subscription; raise `NotConnected` with the reason."""
        await self.close()
        self._session = session = OpcuaSession(self._settings, self._nodes_per_call)
        await session.open()
        self._look_at_security(session)
        lost = await self._resolve(session)
        self._pending = [(name, time_ns(), None, quality.BAD_NODE_ID_UNKNOWN) for name in lost]
        first = await session.read()
        lost |= {name: "the server has no such node" for name, _, _, code in first if code in _NO_SUCH_NODE}
        await self._explain_lost(session, lost)
        if self.interval_s is None:
            self._news = News()
            self._subscription = subscription = OpcuaSubscription(session, self._settings, self._news)
            await subscription.create()
            await self._watch(subscription, [name for name, *_ in first])

    async def read(self) -> list[Frame]:
        """Return what is new, with the server's own timestamps; raise `NotConnected` once it is gone."""
        session = self._session
        if session is None:
            raise NotConnected(f"there is no connection to the OPC UA server at {self._settings.url}")
        session.check_open()
        if monotonic() >= self._certificates_due_s:
            self._look_at_security(session)
        following = self._subscription
        fresh = await session.read() if following is None else await self._follow(following)
        pending, self._pending = self._pending, []
        observations = pending + fresh
        self._name_what_is_no_number(observations)
        return gather_frames(self._repeats.keep_news(observations))

    async def close(self) -> None:
        """End the session, if there is one."""
        session, self._session, self._subscription = self._session, None, None
        if session is not None:
            # What the server once refused as too much it would refuse again.
            self._nodes_per_call = session.nodes_per_call
            await session.close()

    def _look_at_security(self, session: OpcuaSession) -> None:
        """Say what a person should mend before it ends the connection, once per stage."""
        self._certificates_due_s = monotonic() + CERTIFICATES_S
        machine, server = str(self._settings.path), self._settings
        if server.security is None and not is_loopback(server.url) and ("", "no_security") not in self._said:
            self._said.add(("", "no_security"))
            reason = "anyone on the network could read along or pose as the machine: give it security"
            log.warning("no_security", machine=machine, url=server.url, reason=reason)
        for whose, certificate in session.certificates.items():
            days = find_warning(certificate, read_clock())
            if days is not None and (whose, f"{days} days") not in self._said:
                self._said.add((whose, f"{days} days"))
                end = certificate.not_valid_after_utc
                reason = f"{whose} certificate ends on {end:%Y-%m-%d %H:%M} UTC: renew it before"
                log.warning("certificate_ends", machine=machine, within_days=days, reason=reason)

    async def _resolve(self, session: OpcuaSession) -> dict[str, str]:
        """Find the nodes of the tags; return why each tag without one has none."""
        found = await find_addresses(session, self._settings.tags)
        for tag, reason in found.by_index.items():
            self._say_once(tag, "namespace_by_index", reason)
        session.choose(found.nodes)
        return dict(found.lost)

    async def _explain_lost(self, session: OpcuaSession, lost: dict[str, str]) -> None:
        """Say once per tag which node is not there, and which ones are that look like it."""
        fresh = [
            tag
            for tag in self._settings.tags
            if tag.name in lost and (tag.name, "node_not_found") not in self._said
        ]
        near = await find_near(session, fresh) if fresh else {}
        for tag in fresh:
            reason = f"{tag.address}: {lost[tag.name]}; {near[tag.name]}"
            self._say_once(tag.name, "node_not_found", reason)

    async def _follow(self, subscription: OpcuaSubscription) -> list[Observation]:
        """Wait for the subscription's next news; now and then ask again for what was refused."""
        if self._probes.is_due(monotonic()):
            await self._watch(subscription, self._unwatched)
        await self._news.wait(0 if self._pending else self._settings.interval_s, subscription.silence_s_max)
        losses = self._news.take_losses()
        if losses:
            log.warning("values_lost", machine=str(self._settings.path), **losses)
        return self._news.take()

    async def _watch(self, subscription: OpcuaSubscription, names: Sequence[str]) -> None:
        """Subscribe to tags; what the server refuses comes back as bad, and is tried again later."""
        refused = await subscription.watch(names)
        self._pending += [(name, time_ns(), None, code) for name, code in refused.items()]
        self._unwatched = list(refused)
        now_s = monotonic()
        if not refused:
            self._probes.reset()
        elif self._probes.is_due(now_s):
            self._probes.back_off(now_s)
        else:
            self._probes.begin(now_s)

    def _name_what_is_no_number(self, observations: Iterable[Observation]) -> None:
        for name, _, _, code in observations:
            if code == quality.BAD_TYPE_MISMATCH:
                self._say_once(
                    name, "no_number", "the node holds text, an array or a structure; a tag is a number"
                )

    def _say_once(self, tag: str, event: str, reason: str) -> None:
        if (tag, event) not in self._said:
            self._said.add((tag, event))
            log.warning(event, machine=str(self._settings.path), tag=tag, reason=reason)
