"""Certificate authorities and certificates for tests, made by openssl."""

import subprocess
from pathlib import Path

from models.link.settings import TlsSettings


def openssl(folder: Path, *arguments: str) -> None:
    """Run openssl in a folder."""
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def make_authority(folder: Path, name: str, days: str = "2") -> None:
    """Make a certificate authority."""
    subject = ["-subj", f"/CN={name}"]
    openssl(
        folder,
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", days),
        *("-keyout", f"{name}.key", "-out", f"{name}.crt", *subject),
    )


def issue(folder: Path, authority: str, name: str, file: str = "", days: str = "2") -> TlsSettings:
    """Make a certificate for `name`; return the settings that use it."""
    file = file or name
    request = ["-keyout", f"{file}.key", "-out", f"{file}.csr", "-subj", f"/CN={name}"]
    openssl(folder, "req", "-newkey", "rsa:2048", "-nodes", *request)
    (folder / "names.txt").write_text("subjectAltName=IP:127.0.0.1\n")
    signing = ["-CA", f"{authority}.crt", "-CAkey", f"{authority}.key", "-CAcreateserial", "-days", days]
    openssl(
        folder,
        *("x509", "-req", "-in", f"{file}.csr", *signing),
        *("-out", f"{file}.crt", "-extfile", "names.txt"),
    )
    return TlsSettings(
        ca_file=folder / "plant-ca.crt",
        certificate_file=folder / f"{file}.crt",
        key_file=folder / f"{file}.key",
    )
