"""Connects to the MQTT broker as the settings say, and looks at the certificates of the way there."""

import os
import threading
import time

from forewarn.doctor.findings import Finding
from models.link import BrokerSettings, Link, LinkState, check_credentials
from models.settings import SettingsError

ANSWER_S_MAX = 10.0


def check_broker(settings: BrokerSettings, what: str = "broker") -> list[Finding]:
    """Connect once, as a client of its own; say how that went, and which certificates end soon."""
    try:
        check_credentials(settings)
    except SettingsError as error:
        return [Finding("fail", what, str(error))]
    said = threading.Event()
    states: list[LinkState] = []

    def hear(state: LinkState) -> None:
        states.append(state)
        said.set()

    link = Link(settings, f"forewarn-doctor-{os.getpid()}", on_state=hear)
    link.start()
    said.wait(ANSWER_S_MAX)
    link.stop()
    return [_judge(settings, what, states), *_check_certificates(settings, what, link.certificate_shown)]


def _judge(settings: BrokerSettings, what: str, states: list[LinkState]) -> Finding:
    if not states:
        words = f"the broker at {settings.address} does not answer: check the address and the firewall"
        return Finding("fail", what, words)
    if not states[0].connected:
        return Finding("fail", what, states[0].reason)
    return Finding("ok", what, f"{settings.address} takes our connection")


def _check_certificates(settings: BrokerSettings, what: str, shown: bytes | None) -> list[Finding]:
    if settings.tls is None:
        return []
    from models.link.certificates import choose_soonest, list_endings

    now_s = time.time()
    endings = list_endings(settings.tls, shown, settings.address)
    near = choose_soonest(endings, now_s)
    if near:
        return [Finding("warn", f"{what} certificates", one.describe(now_s)) for one in near]
    return [Finding("ok", f"{what} certificates", f"{len(endings)} checked, none ends within 30 days")]
