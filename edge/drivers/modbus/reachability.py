"""Why a way to Modbus units does not open, in words for a person; and whom to trust on it."""

import asyncio
import os
import ssl

from edge.drivers import NotConnected
from edge.drivers.modbus.line_settings import Line, ModbusTlsSettings


def make_trust(tls: ModbusTlsSettings) -> ssl.SSLContext:
    """Return what a TLS connection is made with; raise `NotConnected` for files that cannot serve."""
    try:
        trust = ssl.create_default_context(cafile=tls.ca_file)
    except OSError as error:
        raise NotConnected(f"{tls.ca_file}: {_explain_file(error)}: check tls.ca_file") from error
    if tls.certificate_file is not None:
        key_file = tls.key_file or tls.certificate_file
        try:
            trust.load_cert_chain(tls.certificate_file, tls.key_file, _give_no_password)
        except _KeyLocked as error:
            mend = "take the password off a copy that only the gateway's user may read"
            raise NotConnected(f"{key_file} has a password, which nobody is there to type: {mend}") from error
        except OSError as error:
            mend = "check tls.certificate_file and tls.key_file"
            raise NotConnected(
                f"{tls.certificate_file} and {key_file}: {_explain_file(error)}: {mend}"
            ) from error
    return trust


class _KeyLocked(Exception):
    """OpenSSL asks for a password, and would ask at the terminal."""


def _give_no_password() -> str:
    raise _KeyLocked


def _explain_file(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        is_other = error.reason == "KEY_VALUES_MISMATCH"
        return "the key does not fit the certificate" if is_other else "this is no PEM file of that kind"
    return error.strerror or str(error)


def explain_closing(tls: ModbusTlsSettings | None) -> str:
    """Say why a machine may hang up on whom it has accepted, and never answered."""
    if tls is None:
        return "does it take one client only, and is another connected, or does it list who may connect?"
    if tls.certificate_file is None:
        return "does it ask for a certificate of ours (tls.certificate_file and tls.key_file)?"
    return f"does it know who signed {tls.certificate_file} (tls.certificate_file)?"


def explain_port(device: str) -> str:
    """Open the port once more without pyserial, whose reasons pymodbus keeps to its own log."""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK))
    except FileNotFoundError:
        return "is not there: is the adapter plugged in? ls /dev/serial/by-id lists lasting names"
    except PermissionError:
        return "may not be opened by this user: add it to the group that owns the port (mostly dialout)"
    except OSError as error:
        return f"cannot be opened ({error.strerror or error})"
    return "is in use by another program, or is no serial port"


async def explain_network(line: Line, timeout_s: float, trust: ssl.SSLContext | None) -> str:
    """Knock once more without pymodbus, which keeps the reason to its own log."""
    name = (line.tls.server_name or line.host) if line.tls else None
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(line.host, line.port, ssl=trust, server_hostname=name)
        writer.close()
    except TimeoutError:
        return "does not answer: check the address, the cable and the firewall"
    except ConnectionRefusedError:
        return "refuses the connection: is Modbus TCP switched on, and the port right (mostly 502)?"
    except ssl.SSLCertVerificationError as error:
        reason = error.verify_message.rstrip(".")
        return f"does not prove that it is {name} ({reason}): check tls.ca_file and tls.server_name"
    except ssl.SSLError as error:
        return f"does not agree on TLS ({error.reason or error}): does it speak TLS on this port?"
    except OSError as error:
        return f"cannot be reached ({error.strerror or error}): check the address"
    return "took a while to accept the connection: trying again"
