"""Tells a shared client id from a bad link by what came before the end of each connection."""

from models.link.takeovers import CALM_S, CLOSED, TAKEN_OVER, Takeovers


def test_three_short_sessions_in_a_row_are_a_takeover() -> None:
    """Somebody else has our session each time."""
    takeovers = Takeovers()
    for now in (0.0, 2.0, 4.0):
        assert not takeovers.is_contested
        takeovers.connect(now)
        takeovers.lose(now + 1, CLOSED)
    assert takeovers.is_contested


def test_the_broker_s_own_word_counts_too() -> None:
    """MQTT 5 has a reason code for it."""
    takeovers = Takeovers()
    for now in (0.0, 2.0, 4.0):
        takeovers.connect(now)
        takeovers.lose(now + 1, TAKEN_OVER)
    assert takeovers.is_contested


def test_a_proxy_before_a_dead_broker_is_no_takeover() -> None:
    """It takes connections and closes them; no session ever stood, so nobody can have taken it."""
    takeovers = Takeovers()
    takeovers.connect(0.0)
    for now in (1.0, 2.0, 4.0, 8.0):
        takeovers.lose(now, CLOSED)
        assert not takeovers.is_contested


def test_a_calm_session_begins_the_count_anew() -> None:
    """Short ends far apart are a bad line."""
    takeovers = Takeovers()
    for now in (0.0, 2.0):
        takeovers.connect(now)
        takeovers.lose(now + 1, CLOSED)
    takeovers.connect(4.0)
    takeovers.lose(4.0 + CALM_S, CLOSED)
    assert not takeovers.is_contested
