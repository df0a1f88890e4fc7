"""The cloud's own health as Prometheus metrics."""

from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

LATENCY_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)


class CloudMetrics:
    """Counters of one running service. The parts count; the console's `/metrics` renders."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.batches_stored = self._count("batches_stored", "Batches committed")
        self.values_stored = self._count("values_stored", "Values committed")
        self.batches_duplicate = self._count("batches_duplicate", "Batches that came again once settled")
        self.batches_dead_lettered = self._count("batches_dead_lettered", "Messages kept as dead letters")
        self.series_refused = self._count("series_refused", "New tags beyond their gateway's budget")
        self.dead_letters_dropped = self._count("dead_letters_dropped", "Old dead letters given up for new")
        self.statuses_rejected = self._count("statuses_rejected", "Status messages that cannot be read")
        self.inbox_overflows = self._count(
            "inbox_overflows", "Messages turned away until the next connection"
        )
        self.receipts_unsent = self._count(
            "receipts_unsent", "Receipts lost with the link, given again later"
        )
        self.store_failures = self._count("store_failures", "Writes that store or records did not take")
        self.parts_restarted = Counter(
            "forewarn_parts_restarted",
            "Parts of the service that died and began anew",
            ["part"],
            registry=self._registry,
        )
        self.broker_trouble = "not connected yet"
        """Why there is no link to the broker now; empty while it stands."""
        self.store_trouble = ""
        """Why nothing can be stored now; empty while it can."""
        self.read_back_trouble = ""
        """What the store lacked when it was last read back; empty when nothing."""
        self.read_back_missing = self._gauge(
            "read_back_missing_values", "Values that the store lacked when it was last read back"
        )
        connected = self._gauge("broker_connected", "1 while the link to the broker stands")
        connected.set_function(lambda: not self.broker_trouble)
        available = self._gauge("store_available", "1 while the store takes writes")
        available.set_function(lambda: not self.store_trouble)
        self._drift_psi = self._gauge(
            "tag_drift_psi",
            "How far a tag has moved from what was learned",
            ["machine", "tag"],
        )
        self._above_half = self._gauge(
            "scores_above_half_limit_share", "Share of judged rows above half the limit", ["machine"]
        )
        self.inbox_batches = self._gauge("inbox_batches", "Batches waiting to be written")
        self.settle_s = Histogram(
            "forewarn_batch_settle_seconds",
            "From a batch's arrival to its receipt, for the oldest of each write",
            buckets=LATENCY_BUCKETS_S,
            registry=self._registry,
        )

    def _count(self, name: str, words: str) -> Counter:
        return Counter(f"forewarn_{name}", words, registry=self._registry)

    def _gauge(self, name: str, words: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(f"forewarn_{name}", words, labels, registry=self._registry)

    def show_drift(self, machine: str, psi: Mapping[str, float], above_half: float | None) -> None:
        """Show how far a machine is from what was learned of it."""
        for tag, value in psi.items():
            self._drift_psi.labels(machine, tag).set(value)
        if above_half is not None:
            self._above_half.labels(machine).set(above_half)

    def render(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self._registry)
