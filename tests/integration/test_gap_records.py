"""Gaps in the cloud: through the ingester into the records, kept once, summed up by verify."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from cloud.ingest.gaps import list_gaps, record_gaps
from cloud.ingest.inbox import Delivery
from cloud.ingest.ledger import Ledger
from cloud.ingest.sorting import Accepted
from cloud.records import open_records
from models.link import LinkMessage
from models.telemetry import Batch, Gap, encode_batch
from tests.integration.console_plants import serve_plant
from tests.integration.console_rig import HTML, get
from tests.integration.ingest_rig import EPOCH, PUMP, CloudRig, Gateway, MemoryStore
from tests.servers import Mosquitto, wait_until

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cloud(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[CloudRig]:
    """An ingester over a store in memory."""
    rig = CloudRig(mosquitto.settings, tmp_path, MemoryStore())
    yield rig
    rig.stop()


S = 1_000_000_000


def send_gaps(gateway: Gateway, sequence: int, *gaps: Gap) -> None:
    """Publish a batch that holds nothing else."""
    gateway.publish(encode_batch(Batch(gateway.name, EPOCH, sequence, [], list(gaps))))


def test_gaps_are_receipted_kept_once_and_proven(
    cloud: CloudRig, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    """Batches of gaps alone go all the way; a repeat changes nothing, what grew replaces; verify sums up."""
    gateway = Gateway(mosquitto.settings)

    def receipted() -> bool:
        gateway.send(1)
        return bool(gateway.stored.total)

    wait_until(receipted, "the first receipt")
    lost = Gap(10 * S, 15 * S, "connection_lost", detail="no answer")
    overflow = Gap(12 * S, 14 * S, "overflow", ["flow"], 37)
    send_gaps(gateway, 2, lost, overflow)
    send_gaps(gateway, 3, msgspec.structs.replace(lost, last=20 * S, filled=5))
    send_gaps(gateway, 2, lost, overflow)
    gateway.wait_stored(3)
    gateway.say_status(sequence_last=3, values_total=1, timestamp=1)
    gateway.link.stop()
    grown = msgspec.structs.replace(lost, last=20 * S, filled=5)
    found = list_gaps(cloud.engine, gateway="pi-01")
    assert [(one.machine, one.gap) for one in found] == [(str(PUMP), grown), (str(PUMP), overflow)]
    config = tmp_path / "cloud.yaml"
    url = cloud.engine.url.render_as_string()
    config.write_text(
        f"records: {{url: '{url}'}}\nstore: {{kind: embedded, path: {tmp_path / 'store.sqlite'}}}\n"
    )
    command = [sys.executable, "-c", "from forewarn.cli import main; main()", "cloud", "verify"]
    shown = subprocess.run(
        [*command, "--config", str(config), "--json"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    (account,) = msgspec.json.decode(shown.stdout)["gateways"]
    assert account["gaps"]["total"] == {
        "count": 2,
        "seconds": 10.0,
        "values_missing": 37,
        "values_filled": 5,
    }
    assert {reason: one["seconds"] for reason, one in account["gaps"]["by_reason"].items()} == {
        "connection_lost": 10.0,
        "overflow": 2.0,
    }
    told = subprocess.run(
        [*command, "--config", str(config)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (
        "not acquired, and recorded: 2 gaps of 10 s (37 values known to be missing, 5 filled" in told.stdout
    )


def accept(sequence: int, *gaps: Gap) -> Accepted:
    """Return a batch of gaps as the ingester has it."""
    batch = Batch("pi-01", EPOCH, sequence, [], list(gaps))
    return Accepted(Delivery(LinkMessage("t", b"", 0, 1), 0, 0.0), ("pi-01", EPOCH), sequence, PUMP, batch, 0)


def test_an_older_word_never_replaces_a_newer_one_and_the_oldest_gaps_go(tmp_path: Path) -> None:
    """Whatever the order of arrival, the later batch counts; the table is bounded."""
    engine = open_records(f"sqlite:///{tmp_path / 'records.sqlite'}")
    ledger = Ledger(engine)
    newer, older = Gap(S, 9 * S, "gateway_down", filled=3), Gap(S, 5 * S, "gateway_down")
    with ledger.begin() as connection:
        assert record_gaps(connection, [accept(7, newer), accept(6, older)]) == 0
    assert [one.gap for one in list_gaps(engine)] == [newer]
    with ledger.begin() as connection:
        many = [Gap(n * S, n * S + 5, "overflow") for n in range(20, 30)]
        assert record_gaps(connection, [accept(8, *many)], rows_max=4) == 7
    assert [one.gap.first for one in list_gaps(engine)] == [29 * S, 28 * S, 27 * S, 26 * S]
    engine.dispose()


def test_the_gateways_page_sums_up_the_gaps_of_a_day_and_shows_what_is_to_be_mended(tmp_path: Path) -> None:
    """What lies before the last 24 hours does not count; a certificate that ends is named."""
    hour, now_ns = 3600 * S, time.time_ns()
    with serve_plant(tmp_path) as rig:
        rig.warnings = ["the broker's certificate at <b>plant</b> ends in 3 days"]
        rig.report_gateway()
        with Ledger(rig.engine).begin() as connection:
            gaps = [
                Gap(now_ns - 30 * hour, now_ns - 22 * hour, "gateway_down"),
                Gap(now_ns - 3 * hour, now_ns - 2 * hour, "connection_lost"),
                Gap(now_ns - 40 * hour, now_ns - 26 * hour, "gateway_down"),
            ]
            record_gaps(connection, [accept(7, *gaps)])
        [row] = get(rig, "/api/v1/gateways").json()
        assert row["gaps_day"] == 2
        assert row["gap_s_day"] == pytest.approx(3 * 3600, abs=60)
        page = get(rig, "/gateways", **HTML).text
        assert "Gaps, last 24 h (2 h 59 min)" in page
        assert "the broker&#39;s certificate at &lt;b&gt;plant&lt;/b&gt; ends in 3 days" in page
