"""Who vouches for a bundle: the Ed25519 key that signs here, and the public keys that are trusted here."""

import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from models.errors import ForewarnError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

KEYS, PRIVATE, TRUSTED, PUBLIC_SUFFIX = "keys", "signing.pem", "trusted", ".pem"
NAME_CHARS = 32
FILE_BYTES_MAX = 16_384
TRUSTED_MAX = 1_000
NAME = re.compile(rf"[0-9a-f]{{{NAME_CHARS}}}")


class KeyUnusable(ForewarnError):
    """A key cannot be read, made or trusted; the message says which file, why, and the mend."""


class SignerUnknown(ForewarnError):
    """Signed by a key that nobody has trusted here."""


class SignatureWrong(ForewarnError):
    """The signature was not made of this content by the key that it names."""


class Keys(msgspec.Struct, frozen=True):
    """Where the private key lies that signs here, and the folder of the public keys that are trusted."""

    private: Path
    trusted: Path


class Signature(msgspec.Struct, frozen=True):
    """A key's name and what it made of the content (64 bytes; base64 in the file)."""

    key: str
    signature: bytes


def locate_keys(root: Path) -> Keys:
    """Return where the keys of a folder of bundles lie unless the settings name other places."""
    return Keys(root / KEYS / PRIVATE, root / KEYS / TRUSTED)


def is_keyless(keys: Keys) -> bool:
    """Return whether there is no key to compare any signature with: nobody has trained here yet."""
    return not keys.private.exists() and not any(keys.trusted.glob(f"*{PUBLIC_SUFFIX}"))


def sign(content: bytes, keys: Keys) -> bytes:
    """Return the signature of `content` as it is kept; a key is made where there is none yet.

    Raises `KeyUnusable`.
    """
    private = load_private(keys) if keys.private.exists() else make_key(keys)
    name = name_key(private.public_key())
    return msgspec.json.encode(Signature(name, private.sign(content)))


def verify(content: bytes, signature: bytes, keys: Keys) -> str:
    """Return the name of the trusted key that signed `content`; raise `SignatureWrong`, `SignerUnknown`."""
    from cryptography.exceptions import InvalidSignature

    try:
        found = msgspec.json.decode(signature, type=Signature)
    except msgspec.DecodeError as error:
        raise SignatureWrong(f"the signature cannot be read ({error})") from error
    if not NAME.fullmatch(found.key):
        raise SignatureWrong("the signature names no key")
    public = _find_trusted(found.key, keys)
    try:
        public.verify(found.signature, content)
    except InvalidSignature as error:
        raise SignatureWrong(f"key {found.key} has not signed this content") from error
    return found.key


def make_key(keys: Keys) -> "Ed25519PrivateKey":
    """Make a private key that only its owner can read, unless somebody was faster; return the one there is.

    Its public key is trusted from then on.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        keys.private.parent.mkdir(parents=True, exist_ok=True)
        _write_once(keys.private, pem, 0o600)
    except OSError as error:
        raise KeyUnusable(
            f"{keys.private}: the key that signs models cannot be made ({error.strerror}): make its folder "
            "writable for the user that trains, or name another file as watch.signing_key"
        ) from error
    return load_private(keys)


def load_private(keys: Keys) -> "Ed25519PrivateKey":
    """Return the key that signs here, its public key trusted; raise `KeyUnusable`."""
    private = read_private(keys)
    if name_key(private.public_key()) not in list_trusted(keys):
        _keep_trusted(private.public_key(), keys)
    return private


def read_private(keys: Keys) -> "Ed25519PrivateKey":
    """Return the key that signs here, and change nothing; raise `KeyUnusable`."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private = load_pem_private_key(_read(keys.private), None)
    except (OSError, ValueError, TypeError) as error:
        raise KeyUnusable(
            f"{keys.private}: the key that signs models cannot be read ({error}): it must be an Ed25519 key "
            "in PEM without a password, and belong to the user that trains"
        ) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise KeyUnusable(f"{keys.private}: is no Ed25519 key: openssl genpkey -algorithm ed25519 makes one")
    return private


def load_public(file: Path) -> "Ed25519PublicKey":
    """Return the public key in a PEM file; raise `KeyUnusable`."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        content = _read(file)
        if b"PRIVATE KEY" in content:
            raise KeyUnusable(
                f"{file}: is a private key, which stays where it is: `keys show` has the public one"
            )
        public = load_pem_public_key(content)
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise KeyUnusable(f"{file}: is no public key that can be read ({error})") from error
    if not isinstance(public, Ed25519PublicKey):
        raise KeyUnusable(f"{file}: is no Ed25519 key, which models are signed with")
    return public


def trust(file: Path, keys: Keys) -> str:
    """Believe bundles that the key in `file` has signed, and return its name; raise `KeyUnusable`."""
    public = load_public(file)
    _keep_trusted(public, keys)
    return name_key(public)


def list_trusted(keys: Keys) -> Mapping[str, Path]:
    """Return the files of the trusted keys by their names; what is no key is passed over."""
    found = {}
    for file in sorted(keys.trusted.glob(f"*{PUBLIC_SUFFIX}"))[:TRUSTED_MAX]:
        try:
            found[name_key(load_public(file))] = file
        except KeyUnusable:
            continue
    return found


def name_key(public: "Ed25519PublicKey") -> str:
    """Return the first half of the SHA-256 of a public key in hexadecimal: what a person compares."""
    return hashlib.sha256(public.public_bytes_raw()).hexdigest()[:NAME_CHARS]


def write_public(public: "Ed25519PublicKey") -> bytes:
    """Return a public key as PEM, for somebody to trust."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _find_trusted(name: str, keys: Keys) -> "Ed25519PublicKey":
    file = keys.trusted / f"{name}{PUBLIC_SUFFIX}"
    if not file.is_file():  # a person may have put it there under a name of his own
        file = list_trusted(keys).get(name, file)
    if not file.is_file():
        raise SignerUnknown(f"signed by key {name}, which is not trusted here")
    public = load_public(file)
    if name_key(public) != name:
        raise SignerUnknown(f"{file}: holds another key than its name says")
    return public


def _keep_trusted(public: "Ed25519PublicKey", keys: Keys) -> None:
    try:
        keys.trusted.mkdir(parents=True, exist_ok=True)
        _write_once(keys.trusted / f"{name_key(public)}{PUBLIC_SUFFIX}", write_public(public), 0o644)
    except OSError as error:
        raise KeyUnusable(
            f"{keys.trusted}: the key cannot be kept there ({error.strerror}): make the folder writable, or "
            "have its owner put the key there"
        ) from error


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(FILE_BYTES_MAX)


def _write_once(file: Path, content: bytes, mode: int) -> None:
    """Write a file whole, or leave the one that is there: of several at once the first counts."""
    draft = file.with_name(f".{file.name}-{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        _give_name(draft, file)
    finally:
        draft.unlink(missing_ok=True)


def _give_name(draft: Path, file: Path) -> None:
    try:
        os.link(draft, file)
    except FileExistsError:
        return
    except OSError:  # a file system without links
        if not file.exists():
            draft.replace(file)
