"""Certificates of the way to the broker that end soon: said 30, 7 and 1 days before, by whose they are."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from edge.settings import HealthSettings
from edge.vitals.certificates import SETTLE_S, CertificateWatch, Way
from forewarn.doctor.broker import check_broker
from models.link import BrokerSettings, Link, LinkState, TlsSettings
from models.link.certificates import DAY_S, Ending, list_endings
from tests.integration.certificates_rig import issue, make_authority
from tests.integration.edge_rig import CountingDriver, StandInCloud, make_settings, running, until
from tests.integration.sparkplug_rig import make_sparkplug_settings
from tests.servers import Mosquitto, wait_until


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[tuple[Mosquitto, TlsSettings]]:
    """A broker whose certificate lasts 20 days, an authority of 300, and our own certificate of 5."""
    make_authority(tmp_path, "plant-ca", days="300")
    issue(tmp_path, "plant-ca", "broker", days="20")
    ours = issue(tmp_path, "plant-ca", "pi-01", days="5")
    broker = Mosquitto(
        tmp_path,
        f"cafile {tmp_path}/plant-ca.crt",
        f"certfile {tmp_path}/broker.crt",
        f"keyfile {tmp_path}/broker.key",
        "require_certificate true",
    )
    broker.start()
    yield broker, ours
    broker.stop()


def test_the_stages_are_thirty_seven_and_one_day() -> None:
    """Each begins when so much is left; after the end the words say so."""
    ending = Ending("our own", "pi-01.crt", 100 * DAY_S)
    stages = {left: ending.find_stage((100 - left) * DAY_S) for left in (31, 30, 8, 7, 2, 1, 0, -1)}
    assert stages == {31: None, 30: 30, 8: 30, 7: 7, 2: 7, 1: 1, 0: 1, -1: 1}
    assert "ends in 2 days" in ending.describe(98 * DAY_S)
    assert "has ended on 1970-04-11" in ending.describe(101 * DAY_S)


async def test_each_certificate_that_ends_soon_is_said_once_per_stage(
    secured: tuple[Mosquitto, TlsSettings],
) -> None:
    """The broker's as it was shown, our own from its file; the authority's lasts."""
    broker, tls = secured
    settings = broker.settings.model_copy(update={"tls": tls})
    states: list[LinkState] = []
    link = Link(settings, "pi-01", on_state=states.append)
    link.start()
    wait_until(link.is_connected, "connected")
    watch = CertificateWatch([Way(settings, lambda: link.certificate_shown)])
    with capture_logs() as said:
        for loop_s in (0.0, 1.0, SETTLE_S, SETTLE_S + 3601):
            await watch.look(loop_s)
    link.stop()
    assert [(line["event"], line["within_days"]) for line in said] == [
        ("certificate_ends", 7),
        ("certificate_ends", 30),
    ]
    own, of_broker = said
    assert own["reason"].startswith(f"our own certificate ({tls.certificate_file}) ends in ")
    assert of_broker["reason"].startswith(f"the broker's certificate ({settings.address}) ends in ")
    assert len(watch.list_warnings()) == 2
    ends = {one.whose: (one.end_s - time.time()) / DAY_S for one in watch.endings}
    assert {whose: round(days) for whose, days in ends.items()} == {
        "the broker's": 20,
        "the authority's": 300,
        "our own": 5,
    }


async def test_the_cloud_is_told_with_the_status(
    tmp_path: Path, secured: tuple[Mosquitto, TlsSettings]
) -> None:
    """What is to be renewed stands in the gateway's status."""
    broker, tls = secured
    settings = make_settings(tmp_path, broker.settings.model_copy(update={"tls": tls}))
    cloud = StandInCloud(settings.broker)
    cloud.start()
    async with running(settings, CountingDriver()):
        await until(lambda: any(status.warnings for status in cloud.statuses), "it is told")
    cloud.stop()
    (warning, *_) = next(status.warnings for status in cloud.statuses if status.warnings)
    assert warning.startswith(f"our own certificate ({tls.certificate_file}) ends in ")


async def test_the_way_to_sparkplugs_own_broker_is_watched_too(
    tmp_path: Path, free_port: int, secured: tuple[Mosquitto, TlsSettings]
) -> None:
    """The gateway's health names what ends on it, though Forewarn's own broker has no TLS."""
    broker, tls = secured
    own = {**broker.settings.model_dump(), "tls": tls.model_dump()}
    settings = make_sparkplug_settings(tmp_path, BrokerSettings(), broker=own).model_copy(
        update={"health": HealthSettings(port=free_port)}
    )
    async with running(settings, CountingDriver()), httpx.AsyncClient() as client, asyncio.timeout(30):
        problems: list[str] = []
        while not any("certificate" in problem for problem in problems):
            await asyncio.sleep(0.1)
            problems = (await client.get(f"http://127.0.0.1:{free_port}/healthz")).json()["problems"]
    assert f"our own certificate ({tls.certificate_file}) ends in " in " ".join(problems)


def test_the_doctor_and_the_online_check_name_them(secured: tuple[Mosquitto, TlsSettings]) -> None:
    """What ends soon is to be looked at, the most urgent first; the connection itself is well."""
    broker, tls = secured
    found = check_broker(broker.settings.model_copy(update={"tls": tls}))
    assert [(one.verdict, one.what) for one in found] == [
        ("ok", "broker"),
        ("warn", "broker certificates"),
        ("warn", "broker certificates"),
    ]
    assert found[1].words.startswith("our own certificate")
    assert found[2].words.startswith("the broker's certificate")


def test_files_that_are_none_have_no_end(tmp_path: Path) -> None:
    """What cannot be read is said elsewhere."""
    (tmp_path / "ca.crt").write_text("no certificate")
    tls = TlsSettings(ca_file=tmp_path / "ca.crt", certificate_file=tmp_path / "missing.crt")
    assert list_endings(tls, None, "broker:8883") == []
