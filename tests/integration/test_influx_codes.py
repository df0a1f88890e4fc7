"""What the InfluxDB store does with each answer of a scripted server, alone and under the ingester's loop."""

import threading
import time
from collections.abc import Iterator
from email.utils import formatdate

import pytest

from cloud.ingest import insisting
from cloud.ingest.insisting import Insistence, Stopped
from cloud.metrics import CloudMetrics
from cloud.stores import Block, Rejection, StoreNeedsMending, StoreUnavailable, refusals, slicing
from cloud.stores.influx_server import read_retry_after
from cloud.stores.influxdb import InfluxdbStoreSettings, InfluxdbWriter
from models.telemetry import Frame, MachinePath
from tests.integration.scripted_influx import TAKEN, Answer, ScriptedInflux
from tests.servers import wait_until

PUMP = MachinePath("riverside", "hall-1", "water", "pump-7")
MOTOR = MachinePath("riverside", "hall-1", "water", "motor-3")
START = 1_795_337_912_000_000_000


@pytest.fixture
def server() -> Iterator[ScriptedInflux]:
    """A server that takes everything until it is told otherwise."""
    running = ScriptedInflux()
    yield running
    running.close()


def make_block(rows: int, machine: MachinePath = PUMP) -> Block:
    """Return rows of two tags; the value says tag and row."""
    times = [START + row for row in range(rows)]
    return Block(
        "telemetry",
        machine,
        [
            Frame(
                times, {"x": [float(row) for row in range(rows)], "y": [1000.0 + row for row in range(rows)]}
            )
        ],
    )


def insist(settings: InfluxdbStoreSettings, *blocks: Block) -> list[Rejection]:
    """Write as the ingester does, until it works."""
    writer = InfluxdbWriter(settings)
    loop = Insistence(CloudMetrics(), lambda: None)
    try:
        return loop.insist(lambda: writer.write(blocks), threading.Event(), 1)
    finally:
        writer.close()


def find_fields(lines: list[str]) -> set[str]:
    """Return every `tag=value` that stands in the lines."""
    return {field for line in lines for field in line.split(" ")[1].split(",")}


def list_fields(*rows: int) -> set[str]:
    """Return what `make_block` holds in these rows."""
    return {field for row in rows for field in (f"x={row}.0", f"y={1000 + row}.0")}


def test_a_2xx_is_stored_in_one_request(server: ScriptedInflux) -> None:
    """Blocks of several machines travel together, once."""
    assert insist(server.make_settings(), make_block(50), make_block(50, MOTOR)) == []
    assert len(server.asked_s) == 1
    assert len(server.lines) == 100


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_gets_everything_later(server: ScriptedInflux, status: int) -> None:
    """However often it is busy, nothing is dropped and nothing is halved."""
    server.upcoming = [(status, {}, "down for repair")] * 4
    assert insist(server.make_settings(), make_block(20)) == []
    assert len(server.asked_s) == 5
    assert find_fields(server.lines) == list_fields(*range(20))


@pytest.mark.parametrize("in_words", [False, True])
def test_the_pause_that_a_server_asks_for_is_kept(server: ScriptedInflux, in_words: bool) -> None:
    """Retry-After in seconds, or as a date: the next try comes no sooner, and not all at once."""
    # A date has whole seconds: one that is two ahead is more than one away.
    said = formatdate(time.time() + 2, usegmt=True) if in_words else "1"
    server.upcoming = [(503, {"Retry-After": said}, "busy")]
    assert insist(server.make_settings(), make_block(2)) == []
    first, second = server.asked_s
    assert 0.9 <= second - first < 10
    assert len(server.lines) == 2


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (None, None),
        ("7", 7.0),
        ("0.25", 0.25),
        ("-3", 0.0),
        ("86400", 600.0),
        ("nan", None),
        ("soon", None),
        ("Mon, 23 Nov 2026 06:00:30 GMT", 30.0),
        ("Mon, 23 Nov 2026 05:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(said: str | None, expected: float | None) -> None:
    """Whatever a proxy says there, the answer is a bounded number of seconds or none."""
    assert read_retry_after(said, 1_795_413_600.0) == expected


def test_a_server_that_says_nothing_is_asked_again(server: ScriptedInflux) -> None:
    """A timeout may have stored the lines or not: they are sent again, which overwrites."""
    server.upcoming = [1.0]
    assert insist(server.make_settings(timeout_s=0.2), make_block(5)) == []
    assert len(server.asked_s) == 2
    assert find_fields(server.lines) == list_fields(*range(5))


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("bad", [{7}, {0, 99}, set(range(10, 40)), {3, 50, 51, 98}])
def test_refused_readings_are_found_to_the_line(server: ScriptedInflux, status: int, bad: set[int]) -> None:
    """Exactly the refused readings are named, with the reason; all that stands beside them is stored."""
    fields = {f"y={1000 + row}.0" for row in bad}

    def judge(lines: list[str]) -> Answer:
        return (status, {}, "field type conflict") if find_fields(lines) & fields else TAKEN

    server.judge = judge
    (rejection,) = insist(server.make_settings(), make_block(100, MOTOR), make_block(100))[:1]
    assert rejection.index == 0
    assert rejection.reason == "field type conflict"
    assert slicing.list_readings(rejection.frames) == {("y", START + row) for row in bad}
    assert find_fields(server.lines) == list_fields(*range(100)) - fields


def test_a_refused_write_is_not_searched_for_ever(
    server: ScriptedInflux, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block that is bad throughout costs a bounded number of requests, and its neighbours are stored."""
    monkeypatch.setattr(refusals, "PROBES_MAX", 20)

    def judge(lines: list[str]) -> Answer:
        return (400, {}, "too old") if any("machine=motor-3" in line for line in lines) else TAKEN

    server.judge = judge
    (rejection,) = insist(server.make_settings(), make_block(200), make_block(200, MOTOR))
    assert rejection.index == 1
    assert len(slicing.list_readings(rejection.frames)) == 400
    assert len(server.asked_s) < 30
    assert len(server.lines) == 200


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_right_is_an_alarm_and_tried_slowly(
    server: ScriptedInflux, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person has to mend it: said as an error, repeated at the slow pace only, and nothing is lost."""
    monkeypatch.setattr(insisting, "MENDING_PAUSE_S", 0.5)
    server.upcoming = [(status, {}, "no")] * 2
    with pytest.raises(StoreNeedsMending, match=str(status)):
        InfluxdbWriter(server.make_settings()).write([make_block(1)])
    assert insist(server.make_settings(), make_block(3)) == []
    assert server.asked_s[2] - server.asked_s[1] >= 0.5
    assert len(server.lines) == 3


def test_the_slow_pace_ends_when_we_are_told_to_stop(server: ScriptedInflux) -> None:
    """A service that waits for a person can be stopped; what must not wait goes on meanwhile."""
    server.upcoming = [(401, {}, "no")] * 100
    stop, metrics, noted = threading.Event(), CloudMetrics(), threading.Event()
    writer = InfluxdbWriter(server.make_settings())
    loop = Insistence(metrics, noted.set)
    ended = threading.Event()

    def run() -> None:
        with pytest.raises(Stopped):
            loop.insist(lambda: writer.write([make_block(1)]), stop, 1)
        ended.set()

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: "refuses the token (401)" in metrics.store_trouble, "the trouble is shown")
    assert noted.wait(20)
    stop.set()
    thread.join(10)
    assert ended.is_set()
    assert len(server.asked_s) == 1


@pytest.mark.parametrize("size", [300, 5000])
def test_a_413_is_halved(server: ScriptedInflux, size: int) -> None:
    """Whatever size the server takes, all lines arrive and no request but the refused is larger."""

    def judge(lines: list[str]) -> Answer:
        return (413, {}, "too large") if len("\n".join(lines)) > size else TAKEN

    server.judge = judge
    assert insist(server.make_settings(), make_block(100), make_block(100, MOTOR)) == []
    assert find_fields(server.lines) == list_fields(*range(100))
    assert len(server.lines) == 200


def test_large_requests_are_compressed_and_small_ones_are_not(server: ScriptedInflux) -> None:
    """From `gzip_bytes_min` on; the server reads the same lines, from a body a tenth as large."""
    settings = server.make_settings(gzip_bytes_min=2000)
    assert insist(settings, make_block(3)) == []
    assert insist(settings, make_block(1000)) == []
    assert server.encodings == ["plain", "gzip"]
    assert find_fields(server.lines) == list_fields(*range(1000))
    assert server.sizes[1] < 12_000


@pytest.mark.parametrize(
    ("url", "from_bytes"),
    [
        ("http://127.0.0.1:8086", float("inf")),
        ("http://[::1]:8086", float("inf")),
        ("http://db.plant", 64_000),
    ],
)
def test_only_what_crosses_a_network_is_compressed(url: str, from_bytes: float) -> None:
    """On the same computer packing costs more than it saves, unless the settings ask for it."""
    facts = {"kind": "influxdb", "url": url, "org": "plant", "bucket": "forewarn"}
    assert InfluxdbStoreSettings.model_validate(facts).gzip_from_bytes == from_bytes
    assert InfluxdbStoreSettings.model_validate(facts | {"gzip_bytes_min": 9}).gzip_from_bytes == 9


def test_nobody_there_is_no_word_of_a_database(server: ScriptedInflux) -> None:
    """A server that is gone is unavailable, also for the first question which version it is."""
    settings = server.make_settings()
    server.close()
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        InfluxdbWriter(settings).write([make_block(1)])
