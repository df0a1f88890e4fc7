"""Says once what hinders Sparkplug and what is kept meanwhile, and once that it goes on; counts the rest."""

import structlog

from edge.publishing.news import Outage
from edge.sparkplug.names import state_topic
from edge.sparkplug.settings import Custody

SAY_AGAIN_S = 60.0
HOST_GRACE_S = 3.0
"""A host's retained STATE message comes right after the connection: until then nothing is amiss."""

PROMISES: dict[Custody, str] = {
    "broker": (
        "there is no Forewarn cloud: a value is deleted here once the broker has read it while the primary "
        "host was online, and sparkplug.settle_s have passed. Not promised: that the host got it "
        "(Sparkplug's values travel at QoS 0: full queues, access lists and failing brokers drop them "
        "without a word), that anybody stored it, that nothing comes twice"
    ),
    "cloud": (
        "Forewarn's cloud answers for the values; Sparkplug's hosts get a copy, which is kept in memory "
        "while they are away and may be lost with it"
    ),
}

log = structlog.get_logger()


class SparkplugNews:
    """What a person is told. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._broker = Outage("sparkplug_broker_lost", "sparkplug_broker_back")
        self._host = Outage("sparkplug_host_away", "sparkplug_host_back")
        self._keep = Outage("sparkplug_outbox_waits", "sparkplug_outbox_goes_on")
        self._too_large: set[str] = set()
        self._dropped_said = 0
        self._dropped_said_at = float("-inf")

    def tell_start(self, custody: Custody, group: str, edge_node: str) -> None:
        """What is promised, and what is not."""
        say = log.warning if custody == "broker" else log.info
        say(
            "sparkplug_started",
            group=group,
            edge_node=edge_node,
            custody=custody,
            promise=PROMISES[custody],
        )

    def tell_lost(self, reason: str, now: float) -> None:
        """The broker is not there, or does not want us."""
        self._broker.begin(now, reason, keeping="values are kept, and sent as history later")

    def tell_born(self, bdseq: int, now: float, *, again: bool) -> None:
        """The births are out."""
        self._broker.end(now)
        self._host.end(now)
        log.info("sparkplug_born", bdseq=bdseq, reason="a host asked for it" if again else "new session")

    def tell_host(self, host_id: str, state: str, now: float) -> None:
        """The broker is there, and the primary host is not."""
        said = "is offline" if state == "offline" else f"has said nothing on {state_topic(host_id)}"
        self._host.begin(
            now,
            f"the primary host {host_id!r} {said}",
            keeping="nothing is published without it; values are kept, and sent as history later",
            mend="start it, correct sparkplug.primary_host, or let this gateway read that topic",
        )

    def tell_too_large(self, machine: str, reason: str) -> None:
        """A machine cannot be born."""
        if machine not in self._too_large:
            self._too_large.add(machine)
            log.error(
                "sparkplug_birth_too_large",
                machine=machine,
                reason=reason,
                mend="raise the broker's packet limit, or give the machine fewer tags",
            )

    def tell_unreadable(self, sequence: int, reason: str) -> None:
        """A batch of the outbox is no batch any more."""
        log.error(
            "sparkplug_batch_unreadable",
            sequence=sequence,
            reason=reason,
            mend="the disk has changed it: forewarn edge outbox rescue, and look at the disk",
        )

    def tell_dropped(self, values_total: int, now: float) -> None:
        """So many values of the copy had to go, ever."""
        if values_total > self._dropped_said and now - self._dropped_said_at >= SAY_AGAIN_S:
            log.error(
                "sparkplug_values_dropped",
                values=values_total - self._dropped_said,
                reason="hosts were away for longer than sparkplug.hold_bytes_max lasts",
                mend="they are in Forewarn's cloud all the same; raise sparkplug.hold_bytes_max",
            )
            self._dropped_said, self._dropped_said_at = values_total, now

    def tell_keep_failing(self, reason: str, now: float) -> None:
        """The outbox cannot be read or written."""
        self._keep.begin(now, reason)

    def tell_keep_working(self, now: float) -> None:
        """The outbox works."""
        self._keep.end(now)
