"""What is said of the link: each fault once, a changed one again, and by a name that leads to its mend."""

import pytest
from structlog.testing import capture_logs

from edge.publishing.news import LinkNews
from models.link.takeovers import CALM_S, CLOSED, TAKEN_OVER, Takeovers


def test_a_changed_reason_is_said_while_the_broker_is_away() -> None:
    """First it is down, then it refuses the password: both are said once, and the way back once."""
    news = LinkNews(lambda: "kept", lambda: True)
    with capture_logs() as said:
        news.tell_connected(0.0)
        for second in range(1, 30):
            news.tell_lost("nobody answers", float(second))
        for second in range(30, 60):
            news.tell_lost("bad password", float(second))
            news.tell_lost("nobody answers", float(second))
        news.tell_connected(61.0)
        news.tell_lost("bad password", 62.0)
    assert [(line["event"], line.get("reason")) for line in said] == [
        ("broker_connected", None),
        ("broker_lost", "nobody answers"),
        ("broker_still_lost", "bad password"),
        ("broker_back", None),
        ("broker_lost", "bad password"),
    ]


def test_reasons_without_end_do_not_fill_the_log() -> None:
    """A broker that finds a new excuse each time is told of a few times only."""
    news = LinkNews(lambda: "kept", lambda: True)
    with capture_logs() as said:
        for second in range(1_000):
            news.tell_lost(f"excuse {second}", float(second))
    assert len(said) == 8


@pytest.mark.parametrize(
    ("code", "name", "mend"),
    [
        (135, "not authorized (PUBACK 135)", "access list"),
        (151, "quota exceeded (PUBACK 151)", "quota"),
        (131, "no reason given (PUBACK 131)", "ask who runs the broker"),
    ],
)
def test_a_refusal_is_said_by_name(code: int, name: str, mend: str) -> None:
    """Which code the broker answered, what it is called, and what to do."""
    with capture_logs() as said:
        LinkNews(lambda: "kept", lambda: True).tell_trouble("refused", 1.0, code)
    assert said[0]["reason"] == f"the broker refuses this gateway's batches: {name}"
    assert mend in said[0]["mend"]


@pytest.mark.parametrize("code", [TAKEN_OVER, CLOSED])
def test_three_takeovers_in_a_row_are_a_contest(code: int) -> None:
    """Thrown out three times soon after connecting: keep away; once it held for long all is forgotten."""
    takeovers, contested = Takeovers(), []
    for second in range(4):
        takeovers.connect(float(second))
        takeovers.lose(second + 0.5, code)
        contested.append(takeovers.is_contested)
    assert contested == [False, False, True, True]
    takeovers.connect(100.0)
    takeovers.lose(100.0 + CALM_S, TAKEN_OVER)
    assert not takeovers.is_contested


def test_takeovers_hours_apart_are_no_contest() -> None:
    """A gateway that is moved to another computer now and then is nothing to be alarmed at."""
    takeovers = Takeovers()
    for hour in range(10):
        takeovers.connect(3600.0 * hour)
        takeovers.lose(3600.0 * hour + 3000, TAKEN_OVER)
        assert not takeovers.is_contested


def test_a_broker_that_crashes_again_and_again_is_no_contest() -> None:
    """Between its lives it takes no connection, which nobody else's takeover would bring about."""
    takeovers = Takeovers()
    for second in range(20):
        takeovers.connect(float(second))
        takeovers.lose(second + 0.5, CLOSED)
        takeovers.miss()
        assert not takeovers.is_contested
