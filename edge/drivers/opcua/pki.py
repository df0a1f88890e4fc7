"""The folder of certificates beside the settings: `own`, `trusted`, `rejected`, `revoked`."""

import os
import re
import shlex
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from edge.drivers.opcua.certificates import (
    CertificateRefused,
    CertificateUnknown,
    judge_certificate,
    load_certificate,
    make_certificate,
    name_certificate,
    read_clock,
    write_fingerprint,
)
from models.errors import ForewarnError

REJECTED_MAX = 100
"""More unknown certificates are not kept: a hostile server could show a new one at each connect."""

_ENDINGS = (".der", ".pem", ".crt", ".cer")
_making = Lock()
Loaded = TypeVar("Loaded")


class PkiUnusable(ForewarnError):
    """The folder of certificates cannot be read or written, or has no such certificate: see the message."""

    exit_code = 3


class Pki:
    """The certificates of one folder; reads and writes files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def trusted(self) -> Path:
        """Where the certificates stand that servers may show, and those of authorities."""
        return self._folder / "trusted"

    @property
    def rejected(self) -> Path:
        """Where certificates wait that servers have shown and nobody has trusted."""
        return self._folder / "rejected"

    def prepare_own(self) -> tuple[Path, Path]:
        """Return the files of our certificate and its key; make them when there are none yet."""
        own = self._folder / "own"
        files = own / "forewarn.der", own / "forewarn.pem"
        with _making:
            if not all(file.is_file() for file in files):
                self._make_own(own)
        return files

    def _make_own(self, own: Path) -> None:
        certificate, key = make_certificate(_name_host(), read_clock())
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(dir=self._folder))
            (fresh / "forewarn.der").write_bytes(certificate)
            with os.fdopen(os.open(fresh / "forewarn.pem", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
                file.write(key)
            # Both files appear at once; when another program was faster, its folder is not empty and stays.
            try:
                fresh.replace(own)
            except OSError:
                shutil.rmtree(fresh)
                if not (own / "forewarn.der").is_file():
                    raise
        except OSError as error:
            raise PkiUnusable(f"{own}: cannot make our certificate there ({error.strerror})") from error

    def check(self, shown: x509.Certificate, hosts: list[str]) -> None:
        """Return when a server at `hosts` may show this certificate; raise `CertificateRefused`.

        One that is merely unknown is kept, so that a person can trust it with one command.
        """
        trusted = [load for _, load in self._load(self.trusted, load_certificate, _ENDINGS)]
        revoked = [load for _, load in self._load(self._folder / "revoked", _load_revoked, (".crl", ".pem"))]
        try:
            judge_certificate(shown, hosts, read_clock(), trusted, revoked)
        except CertificateUnknown as error:
            name = self._keep(shown)
            raise CertificateRefused(
                f"{error} ({name_certificate(shown)}, valid until {shown.not_valid_after_utc:%Y-%m-%d}, "
                f"SHA-256 {write_fingerprint(shown)}): compare the fingerprint with the server's own, "
                f"then run forewarn edge trust {name} --pki {shlex.quote(str(self._folder))}"
            ) from error

    def trust(self, name: str) -> x509.Certificate:
        """Trust the rejected certificate of that name from now on; raise `PkiUnusable`."""
        waiting = dict(self.list_rejected())
        if name not in waiting:
            known = f"waiting there: {', '.join(waiting)}" if waiting else "none is waiting there"
            raise PkiUnusable(f"{self.rejected}: has no certificate {name} ({known})")
        try:
            self.trusted.mkdir(parents=True, exist_ok=True)
            (self.rejected / f"{name}.der").replace(self.trusted / f"{name}.der")
        except OSError as error:
            raise PkiUnusable(f"{self.trusted}: cannot be written ({error.strerror})") from error
        return waiting[name]

    def list_rejected(self) -> list[tuple[str, x509.Certificate]]:
        """Return the certificates that wait, by name."""
        return [(file.stem, load) for file, load in self._load(self.rejected, load_certificate, (".der",))]

    def _keep(self, shown: x509.Certificate) -> str:
        names = shown.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        said = str(names[0].value) if names else "server"
        slug = re.sub(r"[^a-z0-9]+", "-", said.casefold()).strip("-")[:40] or "server"
        name = f"{slug}-{write_fingerprint(shown)[:11].replace(':', '').casefold()}"
        file = self.rejected / f"{name}.der"
        try:
            self.rejected.mkdir(parents=True, exist_ok=True)
            kept = sorted(self.rejected.glob("*.der"), key=lambda one: one.stat().st_mtime)
            if not file.exists():
                for oldest in kept[: max(0, len(kept) - REJECTED_MAX + 1)]:
                    oldest.unlink(missing_ok=True)
                file.write_bytes(shown.public_bytes(Encoding.DER))
        except OSError as error:
            raise PkiUnusable(f"{self.rejected}: cannot be written ({error.strerror})") from error
        return name

    def _load(
        self, folder: Path, load: Callable[[bytes], Loaded], endings: tuple[str, ...]
    ) -> Iterator[tuple[Path, Loaded]]:
        try:
            files = sorted(folder.iterdir()) if folder.is_dir() else []
        except OSError as error:
            raise PkiUnusable(f"{folder}: cannot be read ({error.strerror})") from error
        for file in files:
            if file.suffix.casefold() in endings:
                try:
                    yield file, load(file.read_bytes())
                except OSError as error:
                    raise PkiUnusable(f"{file}: cannot be read ({error.strerror})") from error
                except ValueError as error:
                    raise PkiUnusable(f"{file}: is no certificate (DER or PEM): take it away") from error


def _load_revoked(octets: bytes) -> x509.CertificateRevocationList:
    is_text = octets.lstrip().startswith(b"-----BEGIN")
    return x509.load_pem_x509_crl(octets) if is_text else x509.load_der_x509_crl(octets)


def _name_host() -> str:
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", socket.gethostname()).strip(".-")
    return name[:48] or "gateway"
