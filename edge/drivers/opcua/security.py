"""Gets a client ready to log in: certificates, the server's checked, user, password."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

from asyncua import ua
from asyncua.client.client import Client
from asyncua.crypto.security_policies import (
    SecurityPolicy,
    SecurityPolicyAes128Sha256RsaOaep,
    SecurityPolicyAes256Sha256RsaPss,
    SecurityPolicyBasic256Sha256,
)
from asyncua.crypto.uacrypto import CertProperties
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from edge.drivers import NotConnected
from edge.drivers.opcua.certificates import (
    CertificateRefused,
    check_time,
    find_application_uri,
    load_certificate,
    read_clock,
)
from edge.drivers.opcua.pki import Pki, PkiUnusable
from edge.drivers.opcua.settings import OpcuaSecuritySettings, OpcuaServerSettings

_POLICIES: dict[str, type[SecurityPolicy]] = {
    "Basic256Sha256": SecurityPolicyBasic256Sha256,
    "Aes128_Sha256_RsaOaep": SecurityPolicyAes128Sha256RsaOaep,
    "Aes256_Sha256_RsaPss": SecurityPolicyAes256Sha256RsaPss,
}


async def identify(client: Client, settings: OpcuaServerSettings) -> dict[str, x509.Certificate]:
    """Give the client what it needs to get in; return the certificates that take part, by whose they are.

    Raise `NotConnected` for a server or a file that is not good enough, asyncua's errors for one not there.
    """
    used: dict[str, x509.Certificate] = {}
    if settings.security is not None:
        where = f"the OPC UA server at {settings.url}"
        try:
            used = await _set_security(client, settings.security, urlsplit(settings.url).hostname or "")
        except CertificateRefused as error:
            raise NotConnected(f"{where} is refused: {error}") from error
        except PkiUnusable as error:
            raise NotConnected(str(error)) from error
        except (ValueError, TypeError) as error:
            raise NotConnected(f"the files below security are no certificates and key: {error}") from error
    if settings.user is not None:
        client.set_user(settings.user)
    if settings.password is not None:
        client.set_password(settings.password.read())
    if settings.user_certificate is not None and settings.user_private_key is not None:
        used["user"] = await _set_user_certificate(
            client, settings.user_certificate, settings.user_private_key
        )
    return used


async def _set_security(
    client: Client, security: OpcuaSecuritySettings, host: str
) -> dict[str, x509.Certificate]:
    pki, policy = Pki(security.pki), _POLICIES[security.policy]
    mode = ua.MessageSecurityMode[security.mode]
    if security.certificate is not None and security.private_key is not None:
        own_file, key_file = security.certificate, security.private_key
    else:
        own_file, key_file = await asyncio.to_thread(pki.prepare_own)
    own = _read_certificate(own_file)
    if security.server_certificate is not None:
        shown = _read_certificate(security.server_certificate)
        check_time(shown, read_clock())
    else:
        shown = await _ask_for_certificate(client, policy.URI, mode)
        pki.check(shown, [security.server_name or host])
    client.application_uri = find_application_uri(own) or client.application_uri
    await client.set_security(
        policy,
        certificate=CertProperties(own.public_bytes(Encoding.DER), "der"),
        private_key=str(key_file),
        # With this one given, asyncua refuses any other that the server may show.
        server_certificate=CertProperties(shown.public_bytes(Encoding.DER), "der"),
        mode=mode,
    )
    return {"our own": own, "the server's": shown}


async def _ask_for_certificate(
    client: Client, policy_uri: str, mode: ua.MessageSecurityMode
) -> x509.Certificate:
    """Return the certificate that the server shows for this security, not yet judged."""
    endpoints = await client.connect_and_get_server_endpoints()
    for endpoint in endpoints:
        if endpoint.SecurityPolicyUri == policy_uri and endpoint.SecurityMode == mode:
            try:
                return load_certificate(endpoint.ServerCertificate or b"")
            except ValueError as error:
                raise CertificateRefused(f"what it shows is no certificate ({error})") from error
    offered = {_name_security(endpoint) for endpoint in endpoints}
    wanted = f"{policy_uri.rpartition('#')[2]} {mode.name}"
    raise CertificateRefused(
        f"it does not offer {wanted}, but {', '.join(sorted(offered)) or 'nothing'}: "
        "choose one of them under security, or allow it there"
    )


def _name_security(endpoint: ua.EndpointDescription) -> str:
    policy = str(endpoint.SecurityPolicyUri).rpartition("#")[2]
    return "None" if policy == "None" else f"{policy} {endpoint.SecurityMode.name}"


async def _set_user_certificate(client: Client, certificate: Path, key: Path) -> x509.Certificate:
    try:
        mine = _read_certificate(certificate)
        client.user_certificate = mine
        await client.load_private_key(key)
    except (ValueError, TypeError) as error:
        raise NotConnected(
            f"user_certificate and user_private_key are no certificate and key: {error}"
        ) from error
    return mine


def _read_certificate(file: Path) -> x509.Certificate:
    try:
        return load_certificate(file.read_bytes())
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
