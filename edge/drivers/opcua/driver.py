"""Follows a machine's tags on an OPC UA server: finds their nodes, passes on what is new as frames."""

from collections.abc import Sequence
from time import monotonic, time_ns

from edge.drivers import NotConnected
from edge.drivers.columns import Rows
from edge.drivers.gathering import Gatherer
from edge.drivers.interval_groups import DueTimes, group_tags
from edge.drivers.opcua.addresses import find_addresses, find_near
from edge.drivers.opcua.certificates import find_warning, read_clock
from edge.drivers.opcua.client import NODES_PER_CALL_MAX, OpcuaSession
from edge.drivers.opcua.following import Following
from edge.drivers.opcua.history import History
from edge.drivers.opcua.losses import Losses, explain_loss
from edge.drivers.opcua.sayings import Sayings, name_tags
from edge.drivers.opcua.settings import OpcuaMachineSettings, is_loopback
from edge.drivers.opcua.waveforms import OpcuaWaveforms
from models.telemetry import Frame, Gap, quality

CERTIFICATES_S = 3600.0
"""How often a lasting session's certificates are looked at."""

_NO_SUCH_NODE = (quality.BAD_NODE_ID_UNKNOWN, quality.BAD_NODE_ID_INVALID)


class OpcuaDriver:
    """The driver of one machine, by subscription or by polling.

    By subscription, `read` returns once the server has told of changes, and after `interval_s` without frames
    if it has not. By polling, a `read` is one bulk Read for each interval of tags that is over; what has not
    changed since the last is left out.
    """

    def __init__(self, settings: OpcuaMachineSettings) -> None:
        places = {tag.name: place for place, tag in enumerate(settings.tags)}
        self._groups = [
            (interval_s, [places[tag.name] for tag in tags])
            for interval_s, tags in group_tags(settings.tags, settings.interval_s)
        ]
        self._beat_s = self._groups[0][0]
        self.interval_s: float | None = self._beat_s if settings.mode == "poll" else None
        self._settings = settings
        self._names = list(places)
        self._places = places
        self._due = DueTimes([interval_s for interval_s, _ in self._groups])
        self._session: OpcuaSession | None = None
        self._following: Following | None = None
        self._watched: set[int] = set()
        self._nodes_per_call = NODES_PER_CALL_MAX
        self._gatherer = Gatherer(self._names)
        self._losses = Losses(self._names)
        self._waveforms = OpcuaWaveforms(settings)
        self._history = History(self._names, self._waveforms.places)
        self._pending: list[Rows] = []
        self._sayings = Sayings(str(settings.path))
        self._certificates_due_s = 0.0
        self._absent: dict[str, str] = {}

    async def connect(self) -> None:
        """Open a session, find the nodes, begin the subscriptions; raise `NotConnected` with the reason."""
        await self.close()
        self._session = session = OpcuaSession(self._settings, self._nodes_per_call)
        await session.open()
        self._look_at_security(session)
        lost = await self._resolve(session)
        absent = Rows()
        for place in lost:
            absent.add(place, time_ns(), None, quality.BAD_NODE_ID_UNKNOWN)
        self._pending = [absent]
        held = []
        for group in range(len(self._groups)):
            first = await session.read(group)
            held.append(first)
            for row, code in first.codes.items():
                if code in _NO_SUCH_NODE:
                    lost[first.places[row]] = "the server has no such node"
        await self._explain_lost(session, lost)
        self._due.begin()
        if self.interval_s is None:
            following = Following(session, self._settings, self._groups, self._sayings)
            await following.begin()
            self._compare_items(following.watched)
            self._following = following
        self._waveforms.begin(held)

    async def read(self) -> list[Frame]:
        """Return what is new, with the server's own timestamps; raise `NotConnected` once it is gone."""
        session, following, beats = self._session, self._following, None
        if session is None:
            raise NotConnected(f"there is no connection to the OPC UA server at {self._settings.url}")
        if monotonic() >= self._certificates_due_s:
            self._look_at_security(session)
        if following is not None:
            fresh = await following.next_rows(0 if self._pending else self._beat_s)
            following.note_losses(self._losses)
            beats = following.take_heartbeats()
            if not fresh:
                session.check_open()
        else:
            session.check_open()
            fresh = [await session.read(group) for group in self._due.take()]
        pending, self._pending = self._pending, []
        frames = self._gatherer.gather(self._waveforms.part(pending + fresh))
        if beats is not None:
            frames += self._gatherer.gather([self._gatherer.keep_newer(beats)])
        self._losses.note_overflows(self._gatherer.take_overflows())
        self._say_losses()
        self._name_what_is_no_number(fresh)
        return frames + await self._waveforms.compute(frames, self._beat_s)

    def explain_tags(self) -> dict[str, str]:
        """Return, of tags whose nodes were not there at the last connect, what the server has instead."""
        return self._absent

    def take_gaps(self) -> list[Gap]:
        """Return what the server, or we, could not keep since the last call."""
        if self._following is not None:  # it may have ended since the last read
            self._following.note_losses(self._losses)
        return self._losses.take() + self._waveforms.take_gaps()

    def read_silence_s(self) -> float:
        """Return for how long the server was silent; a poll's answer is never older than the poll."""
        if self._session is None:
            return float("inf")
        return 0.0 if self._following is None else self._following.silence_s

    async def read_history(self, first_ns: int, last_ns: int) -> list[Frame]:
        """Return what the server remembers of the tags between the two instants, both exclusive.

        Raises `HistoryRefused` when it keeps none or gives none out, `NotConnected` when it is gone.
        """
        if self._session is None:
            raise NotConnected(f"there is no connection to the OPC UA server at {self._settings.url}")
        return await self._history.read(self._session, first_ns, last_ns)

    async def close(self) -> None:
        """End the session, if there is one."""
        session, self._session, self._following = self._session, None, None
        if session is not None:
            # What the server once refused as too much it would refuse again.
            self._nodes_per_call = session.nodes_per_call
            await session.close()

    def _look_at_security(self, session: OpcuaSession) -> None:
        """Say what a person should mend before it ends the connection, once per stage."""
        self._certificates_due_s = monotonic() + CERTIFICATES_S
        server = self._settings
        if server.security is None and not is_loopback(server.url):
            reason = "anyone on the network could read along or pose as the machine: give it security"
            self._sayings.warn_daily(read_clock().date(), "no_security", url=server.url, reason=reason)
        for whose, certificate in session.certificates.items():
            days = find_warning(certificate, read_clock())
            if days is not None:
                end = certificate.not_valid_after_utc
                reason = f"{whose} certificate ends on {end:%Y-%m-%d %H:%M} UTC: renew it before"
                about = f"{whose} {days} days"
                self._sayings.warn_once("certificate_ends", about, within_days=days, reason=reason)

    async def _resolve(self, session: OpcuaSession) -> dict[int, str]:
        """Find the nodes of the tags; return why each tag without one has none, by its place."""
        found = await find_addresses(session, self._settings.tags)
        for reason, names in found.by_index.items():
            self._sayings.warn_once("namespace_by_index", reason, **name_tags(names), reason=reason)
        places = self._places
        session.choose(
            {places[name]: node for name, node in found.nodes.items()}, [group for _, group in self._groups]
        )
        return {places[name]: reason for name, reason in found.lost.items()}

    async def _explain_lost(self, session: OpcuaSession, lost: dict[int, str]) -> None:
        """Say once per tag which node is not there, and which ones are that look like it."""
        tags = [(self._settings.tags[place], reason) for place, reason in lost.items()]
        self._absent = {tag.name: self._absent.get(tag.name, why) for tag, why in tags}
        fresh = [one for one in tags if not self._sayings.has_said("node_not_found", one[0].name)]
        near = await find_near(session, [tag for tag, _ in fresh]) if fresh else {}
        for tag, why in fresh:
            self._absent[tag.name] = f"{why}; {near[tag.name]}"
            reason = f"{tag.address}: {why}; {near[tag.name]}"
            self._sayings.warn_once("node_not_found", tag.name, tag=tag.name, reason=reason)

    def _compare_items(self, watched: set[int]) -> None:
        """Say which tags the server follows no more that it followed before the connection was lost."""
        missing, self._watched = self._watched - watched, watched | self._watched
        for place in sorted(missing):
            reason = f"the server followed {len(self._watched)} tags before, and now {len(watched)}"
            self._sayings.warn_once("item_missing", self._names[place], tag=self._names[place], reason=reason)

    def _say_losses(self) -> None:
        """Say what is lost, and the mend, once a day for each cause: every loss is counted as a gap."""
        for cause in self._losses.causes:
            self._sayings.warn_daily(
                read_clock().date(), "values_lost", cause, cause=cause, reason=explain_loss(cause)
            )

    def _name_what_is_no_number(self, blocks: Sequence[Rows]) -> None:
        for rows in blocks:
            for row, code in rows.codes.items():
                place = rows.places[row]
                if code == quality.BAD_TYPE_MISMATCH and place not in self._waveforms.places:
                    name = self._names[place]
                    reason = "the node holds text, an array or a structure; a tag is a number"
                    if row in rows.arrays:
                        reason = (
                            f"the node holds {len(rows.arrays[row][0])} values at a time; a tag is a number: "
                            "if they are a vibration waveform, add waveform: {samples: ..., rate_hz: ...}, "
                            "and its features travel"
                        )
                    self._sayings.warn_once("no_number", name, tag=name, reason=reason)
