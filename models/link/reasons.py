"""Why there is no connection to the broker, in words for a person, with what to do about it."""

import socket
import ssl
import time

from models.link.settings import BrokerSettings
from models.link.takeovers import SLOW_RETRY_S, TAKEN_OVER, TAKEOVERS_MAX
from models.words import say_duration, say_instant

_REFUSAL_MENDS = {
    133: "it does not take this client id",
    134: "check broker.username and broker.password",
    135: "check broker.username, broker.password and the broker's access list",
    136: "it is not ready; this goes on by itself",
    137: "it is busy; this goes on by itself",
    138: "it has banned this client: ask who runs it",
    154: "it retains no messages; it is asked again without",
}

_DATE_MENDS = {  # by OpenSSL's X509_V_ERR_...
    9: "is not valid yet: this computer's clock",
    10: "has expired: renew it; this computer's clock",
}


def explain_refusal(settings: BrokerSettings, code: int, name: str) -> str:
    """Return why the broker did not take the connection (CONNACK's reason code) and what to do."""
    mend = _REFUSAL_MENDS.get(code)
    return f"the broker at {settings.address} refused: {name}" + (f": {mend}" if mend else "")


def explain_no_acknowledgements(settings: BrokerSettings) -> str:
    """Return why a broker that takes the connection is of no use all the same."""
    return (
        f"the broker at {settings.address} takes QoS 0 only, so it would never say that it has a message: "
        "allow QoS 1 there, or use another broker"
    )


def explain_loss(settings: BrokerSettings, client_id: str, code: int, name: str, *, contested: bool) -> str:
    """Return why the connection ended."""
    where = f"the broker at {settings.address}"
    if contested:
        return (
            f"{where} ends the connection as soon as it stands, {TAKEOVERS_MAX} times in a row: does another "
            f"program use the client id {client_id!r} too (two gateways of one name)? Give each a name of "
            f"its own; if not, the broker's log says why; tried again every {say_duration(SLOW_RETRY_S)} only"
        )
    if code == TAKEN_OVER:
        return f"{where} gave the session to another program of the client id {client_id!r}"
    return f"link to {where} lost: {name}"


def explain_connect_error(settings: BrokerSettings, error: BaseException | None) -> str:
    """Return why no connection came about and what to do, in one line for a person."""
    where = f"the broker at {settings.address}"
    if isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in _DATE_MENDS:
        today = say_instant(time.time_ns())[:10]
        return f"{where} shows a certificate that {_DATE_MENDS[error.verify_code]} says {today}"
    if isinstance(error, ssl.SSLCertVerificationError):
        name = settings.tls.server_name if settings.tls and settings.tls.server_name else settings.host
        return (
            f"{where} shows a certificate that is not for {name!r} or not trusted ({error.verify_message}): "
            "check tls.ca_file, and set tls.server_name to a name in the certificate"
        )
    if isinstance(error, ssl.SSLError) or (settings.tls and isinstance(error, ConnectionResetError)):
        return f"{where} speaks no TLS that we accept ({error}): check the port and tls"
    if isinstance(error, socket.gaierror):
        return f"cannot resolve {settings.host!r} ({error.strerror}): check broker.host and the DNS"
    if isinstance(error, ConnectionRefusedError):
        return f"{where} refused the connection: is a broker running there, and is the port right?"
    if isinstance(error, TimeoutError):
        return f"{where} does not answer: check the address and the firewall"
    return f"{where} cannot be reached: {error}"
