"""What the gateway says of its health: progress, metrics, the health page, the status line, systemd."""

import os
import socket
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge.outbox.outbox import OutboxTotals
from edge.polling.progress import DISK, LINK, Progress
from edge.vitals.exposition import Metric, render_metrics
from edge.vitals.systemd import STATUS_CHARS_MAX, ServiceNotices
from edge.vitals.vitals import MachineCounters, Vitals, describe_vitals, list_metrics, render_health
from models.telemetry import DroppedRange, MachineStatus

PUMP, FAN = "site/area/line/pump", "site/area/line/fan"
WELL = Vitals(
    gateway="pi-01",
    version="0.1.0",
    standstill="",
    machines=[
        MachineStatus(PUMP, "connected", 1, bad_tags={"flow": 0x80340000}, missed_cycles_total=7),
        MachineStatus(FAN, "lost", 2, reason="10.0.0.9:502 does not answer"),
    ],
    counters={
        PUMP: MachineCounters(reads_total=5, values_total=10, gaps_total=4),
        FAN: MachineCounters(losses_total=3),
    },
    values_pending=4,
    values_dropped_total=2,
    totals=OutboxTotals("e", 40, 900, [(1, 3)], 60, 5_000, [DroppedRange(4, 5, 33, "the outbox was full")]),
    outbox_bytes_max=1_005_000,
    outbox_bytes_per_s=1_000.0,
    outbox_trouble="",
    broker_connected=True,
    clock_synchronised=None,
)


def change(**facts: object) -> Vitals:
    """Return the vitals with some of them different."""
    return msgspec.structs.replace(WELL, **facts)


def read_metrics(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Read an exposition as Prometheus' own client does: name, values of the labels, value."""
    return {
        sample.name: {
            tuple(other.labels.values()): other.value for other in family.samples if other.name == sample.name
        }
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_prometheus_reads_the_metrics() -> None:
    """Names, kinds, labels and values come out of the text as they went in."""
    found = read_metrics(render_metrics(list_metrics(WELL)))
    assert found["forewarn_machine_connected"] == {(PUMP,): 1, (FAN,): 0}
    assert found["forewarn_machine_reads_total"] == {(PUMP,): 5, (FAN,): 0}
    assert found["forewarn_machine_losses_total"] == {(PUMP,): 0, (FAN,): 3}
    assert found["forewarn_machine_gaps_total"] == {(PUMP,): 4, (FAN,): 0}
    assert found["forewarn_machine_missed_cycles_total"] == {(PUMP,): 7, (FAN,): 0}
    assert found["forewarn_machine_bad_tags"] == {(PUMP,): 1, (FAN,): 0}
    assert found["forewarn_outbox_waiting_bytes"] == {(): 5_000}
    assert found["forewarn_outbox_room_seconds"] == {(): 1_000}
    assert found["forewarn_outbox_dropped_values_total"] == {(): 33}
    assert found["forewarn_outbox_values_total"] == {(): 900}
    assert found["forewarn_gateway_started"] == {("pi-01", "0.1.0"): 1}
    assert "forewarn_clock_synchronised" not in found, "nobody can say: no value is better than a wrong one"


def test_labels_and_words_survive_their_quoting() -> None:
    """Quotation marks, backslashes and line ends in a label are read back as they were."""
    label = 'a "b" \\ c\nd'
    metric = Metric("forewarn_x", "gauge", "one\nline \\ two", [({"tag": label}, 0.1 + 0.2)])
    (family,) = text_string_to_metric_families(render_metrics([metric]))
    assert family.documentation == "one\nline \\ two"
    assert [(sample.labels, sample.value) for sample in family.samples] == [({"tag": label}, 0.1 + 0.2)]


def test_what_is_away_is_a_problem_and_no_failure() -> None:
    """A lost machine or broker is named, and the answer is still `ok`; a disk that refuses is a failure."""
    fine, body = render_health(change(broker_connected=False))
    assert (fine, body["ok"]) == (True, True)
    assert body["problems"] == [
        "no connection to the broker: values wait in the outbox",
        f"{FAN}: 10.0.0.9:502 does not answer",
    ]
    assert body["machines"] == {"connected": 1, "all": 2}
    fine, body = render_health(change(delivery_trouble="nobody subscribes: is forewarn cloud running?"))
    assert (fine, body["problems"][0]) == (
        True,
        "values wait in the outbox: nobody subscribes: is forewarn cloud running?",
    )
    fine, body = render_health(change(outbox_trouble="outbox.sqlite: no space left on device"))
    assert fine is False
    assert body["problems"][0] == "outbox.sqlite: no space left on device"
    fine, body = render_health(change(standstill="no machine's poller has turned in time"))
    assert fine is False


def test_the_status_line_says_the_whole_in_one_line() -> None:
    """Machines, broker, what waits and for how long there is room; or why nothing moves."""
    assert describe_vitals(WELL) == (
        "1 of 2 machines connected; broker connected; 60 values wait; "
        "keeping values in the outbox: 5 kB of 1 MB used, room for about 17 min"
    )
    assert describe_vitals(change(standstill="the disk hangs")) == "stands still: the disk hangs"


def test_one_hanging_machine_is_no_standstill_and_all_are() -> None:
    """As long as one poller turns the gateway does; without any it stands still."""
    progress = Progress()
    progress.promise(DISK, 0, 1_000)
    progress.promise(PUMP, 0, 10)
    progress.promise(FAN, 0, 30)
    assert progress.explain_standstill(20) == ""
    assert progress.list_overdue(20) == [PUMP]
    assert progress.explain_standstill(31) == "no machine's poller has turned in time"
    progress.promise(PUMP, 31, 10)
    assert progress.explain_standstill(32) == ""


def test_a_hanging_disk_is_a_standstill_though_machines_are_read() -> None:
    """Polls alone do not feed the watchdog: the values would be lost in memory."""
    progress = Progress()
    progress.promise(DISK, 0, 10)
    progress.promise(PUMP, 0, 1_000)
    assert progress.explain_standstill(9) == ""
    assert "outbox" in progress.explain_standstill(11)


def test_a_link_that_answers_nothing_is_a_standstill() -> None:
    """Values that are read and kept but never leave: the watchdog is not fed by that."""
    progress = Progress()
    progress.promise(LINK, 0, 10)
    progress.promise(DISK, 0, 1_000)
    progress.promise(PUMP, 0, 1_000)
    assert progress.explain_standstill(9) == ""
    assert "nothing that it was given has been answered" in progress.explain_standstill(11)


def test_a_subscription_without_news_is_alive() -> None:
    """Who waits for a machine's news may wait for ever; who has ended is not waited for."""
    progress = Progress()
    progress.promise(PUMP, 0, None)
    progress.promise(FAN, 0, 1)
    assert progress.explain_standstill(1e9) == ""
    progress.forget(PUMP)
    assert progress.explain_standstill(1e9) != ""
    progress.forget(FAN)
    assert progress.explain_standstill(1e9) == ""


@pytest.mark.parametrize("abstract", [True, False])
def test_systemd_hears_each_notice_as_a_datagram(tmp_path: Path, *, abstract: bool) -> None:
    """Ready, alive, a status of one line, stopping; at an abstract address too."""
    address = f"@forewarn-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + address[1:] if abstract else address)
        systemd.settimeout(5)
        notices = ServiceNotices({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000"})
        notices.tell_ready()
        notices.tell_alive()
        notices.tell_status("a\nWATCHDOG=trigger " + "x" * STATUS_CHARS_MAX)
        notices.tell_stopping()
        heard = [systemd.recv(4_096).decode() for _ in range(4)]
    assert heard[:2] == ["READY=1", "WATCHDOG=1"]
    assert heard[2].startswith("STATUS=a WATCHDOG=trigger xxx")
    assert len(heard[2]) == len("STATUS=") + STATUS_CHARS_MAX
    assert heard[3] == "STOPPING=1"
    assert notices.watchdog_s == 60


@pytest.mark.parametrize(
    "environment",
    [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"}],
)
def test_without_a_watchdog_nothing_is_watched(environment: dict[str, str]) -> None:
    """Not asked for, not a number, or meant for another program; and nobody listening is no error."""
    notices = ServiceNotices(environment)
    assert notices.watchdog_s is None
    assert not notices.is_wanted
    notices.tell_ready()
    ServiceNotices({"NOTIFY_SOCKET": "/nowhere/at/all"}).tell_ready()
