"""What a failure to reach an OPC UA server means, in words for a person."""

import socket

_BY_NAME = {
    "BadUserAccessDenied": "it refuses the user: check user and password, and the rights of this user there",
    "BadIdentityTokenRejected": "it refuses the user: check user and password, or whether it allows no user",
    "BadIdentityTokenInvalid": "it refuses the kind of login: check user and password",
    "BadSecurityChecksFailed": "it does not trust our certificate: accept it in the server's trust list",
    "BadCertificateUntrusted": "it does not trust our certificate: accept it in the server's trust list",
    "BadCertificateTimeInvalid": "a certificate is out of date: check both certificates and both clocks",
    "BadCertificateUriInvalid": "our certificate names another application: make it anew",
    "BadSecurityPolicyRejected": "it does not allow this security policy: look up which ones it offers",
    "BadSecurityModeRejected": "it allows no such connection: give it security: {policy: Basic256Sha256}, "
    "or another mode there",
    "BadTooManySessions": "it has no session left: close other clients, or allow more sessions there",
    "BadTooManyOperations": "it takes fewer nodes per call than we asked for: asking for fewer now",
    "BadServerHalted": "it is stopped",
    "BadShutdown": "it is shutting down",
}


def explain_failure(url: str, error: BaseException) -> str:
    """Return why the server at `url` is of no use now, and the mend where there is one."""
    where, name = f"the OPC UA server at {url}", type(error).__name__
    if name in _BY_NAME:
        return f"{where} answers {name}: {_BY_NAME[name]}"
    if isinstance(error, socket.gaierror):
        return f"{where}: its name cannot be resolved ({error.strerror}): check the url and the DNS"
    if isinstance(error, ConnectionRefusedError):
        return f"{where} refuses the connection: is it running, and is the port right (mostly 4840)?"
    if isinstance(error, TimeoutError):
        return f"{where} does not answer: check the address and the firewall"
    if isinstance(error, FileNotFoundError):
        return f"{where}: cannot read {error.filename}: check the paths below security"
    if "No matching endpoints" in str(error):
        return (
            f"{where} offers no endpoint with this security: give it security: {{policy: Basic256Sha256}}, "
            "or allow_insecure: true where it knows only policy None"
        )
    return f"{where} is lost ({name}: {error})" if str(error) else f"{where} is lost ({name})"
