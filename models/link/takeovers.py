"""Tells a client id that two programs share from a link that is merely bad."""

TAKEN_OVER = 142  # MQTT 5, 3.14.2.1; Mosquitto 2.0 closes the connection without a word instead
CLOSED = 128  # what paho calls that
TAKEOVERS_MAX = 3
CALM_S = 10.0
SLOW_RETRY_S = 30


class Takeovers:
    """Counts how often in a row the broker accepted us and closed the connection soon after.

    Two clients of one name would else throw each other out for ever, many times a minute.
    """

    def __init__(self) -> None:
        self._count = 0
        self._connected_at = float("-inf")
        self._has_session = False

    @property
    def is_contested(self) -> bool:
        """Whether to keep away for long before the next try."""
        return self._count >= TAKEOVERS_MAX

    def connect(self, now: float) -> None:
        """We have the session."""
        self._connected_at = now
        self._has_session = True

    def lose(self, now: float, code: int) -> None:
        """The connection ended with this reason code."""
        if not self._has_session:
            # A proxy or a tunnel takes connections for a broker that is down, and closes them.
            self.miss()
            return
        self._has_session = False
        if now - self._connected_at >= CALM_S or code not in (TAKEN_OVER, CLOSED):
            self._count = 0
        if code in (TAKEN_OVER, CLOSED):
            self._count += 1

    def miss(self) -> None:
        """No connection came about: the broker or the way to it is bad, and nobody else has our session."""
        self._count = 0
