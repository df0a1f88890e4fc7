"""Checks that the MQTT broker takes a connection."""

import os
import threading

from forewarn.doctor.findings import Finding
from models.link import BrokerSettings, Link, LinkState, check_credentials
from models.settings import SettingsError

ANSWER_S_MAX = 10.0


def check_broker(settings: BrokerSettings) -> Finding:
    """Connect once, as a client of its own, and say how that went."""
    try:
        check_credentials(settings)
    except SettingsError as error:
        return Finding("fail", "broker", str(error))
    said = threading.Event()
    states: list[LinkState] = []

    def hear(state: LinkState) -> None:
        states.append(state)
        said.set()

    link = Link(settings, f"forewarn-doctor-{os.getpid()}", on_state=hear)
    link.start()
    said.wait(ANSWER_S_MAX)
    link.stop()
    if not states:
        words = f"the broker at {settings.address} does not answer: check the address and the firewall"
        return Finding("fail", "broker", words)
    if not states[0].connected:
        return Finding("fail", "broker", states[0].reason)
    return Finding("ok", "broker", f"{settings.address} takes our connection")
