"""Signatures of bundles: who vouches for a model, whom this installation believes, and what is refused."""

import hashlib
import json
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from models.anomaly import signing
from models.anomaly.bundle import (
    Bundle,
    BundleDamaged,
    BundleForeign,
    BundleUnsigned,
    find_current,
    load_bundle,
    load_current,
    locate_machine,
    save_bundle,
    sign_bundle,
)
from models.anomaly.signing import Keys, KeyUnusable, locate_keys
from tests.unit.test_bundle import BEGIN_NS, MACHINE, train


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """Give a bundle that is not kept yet."""
    return train()


def at(bundle: Bundle, seconds: int) -> Bundle:
    """Return the bundle as if it was trained so much later."""
    card = msgspec.structs.replace(bundle.card, trained_ns=BEGIN_NS + seconds * 1_000_000_000)
    return msgspec.structs.replace(bundle, card=card)


def save_as_of_old(root: Path, bundle: Bundle, *, into: Path | None = None) -> Path:
    """Write a bundle of format 1, as it was before there were signatures; no key is left in `root`."""
    card = msgspec.structs.replace(bundle.card, format=1)
    folder = save_bundle(
        root, msgspec.structs.replace(bundle, card=card), locate_keys(into or root / "other")
    )
    (folder / "signature.json").unlink()
    shutil.rmtree(root / "other", ignore_errors=True)
    return folder


def test_the_first_bundle_makes_a_key_that_only_its_owner_can_read(tmp_path: Path, bundle: Bundle) -> None:
    """Nobody has to act: the key is made, its public half trusted, and the bundle says who signed it."""
    folder = save_bundle(tmp_path, bundle)
    keys = locate_keys(tmp_path)
    assert stat.S_IMODE(keys.private.stat().st_mode) == 0o600
    (name,) = signing.list_trusted(keys)
    assert load_bundle(folder).signer == name
    save_bundle(tmp_path, at(bundle, 5))
    assert list(signing.list_trusted(keys)) == [name]


def test_openssl_agrees_with_the_signature(tmp_path: Path, bundle: Bundle) -> None:
    """Anybody can check a bundle without Forewarn: it is plain Ed25519 over the file of checksums."""
    folder = save_bundle(tmp_path, bundle)
    (public,) = signing.list_trusted(locate_keys(tmp_path)).values()
    made = msgspec.json.decode((folder / "signature.json").read_bytes(), type=signing.Signature)
    (tmp_path / "signature").write_bytes(made.signature)
    words = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(public), "-rawin"]
    words += ["-in", str(folder / "checksums.json"), "-sigfile", str(tmp_path / "signature")]
    said = subprocess.run(words, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    assert "Verified Successfully" in said.stdout


def test_a_bundle_that_nobody_signed_is_refused(tmp_path: Path, bundle: Bundle) -> None:
    """Without its signature a bundle is not believed, and the message says how to vouch for it."""
    folder = save_bundle(tmp_path, bundle)
    (folder / "signature.json").unlink()
    with pytest.raises(BundleUnsigned, match=f"forewarn models sign {folder}"):
        load_bundle(folder)
    sign_bundle(folder, locate_keys(tmp_path))
    assert load_bundle(folder).card == bundle.card


def test_a_card_changed_with_its_checksum_is_refused(tmp_path: Path, bundle: Bundle) -> None:
    """A higher limit, with checksums made to fit, is found by the signature."""
    import hashlib

    folder = save_bundle(tmp_path, bundle)
    card = json.loads((folder / "card.json").read_text())
    card["limit"]["value"] *= 100.0
    (folder / "card.json").write_text(json.dumps(card))
    sums = json.loads((folder / "checksums.json").read_text())
    sums["card.json"] = hashlib.sha256((folder / "card.json").read_bytes()).hexdigest()
    (folder / "checksums.json").write_text(json.dumps(sums))
    with pytest.raises(BundleDamaged, match=r"has not signed this content: .* train again"):
        load_bundle(folder)


def test_a_model_from_elsewhere_is_believed_once_its_key_is_trusted(tmp_path: Path, bundle: Bundle) -> None:
    """Two installations with a key each: the other's model is refused by name, until a person trusts it."""
    here, there = tmp_path / "here", tmp_path / "there"
    save_bundle(here, bundle)
    folder = save_bundle(there, at(bundle, 60))
    home = locate_machine(here, MACHINE)
    shutil.copytree(folder, home / folder.name)
    (home / "current").write_text(f"{folder.name}\n")
    (name,) = signing.list_trusted(locate_keys(there))
    with pytest.raises(
        BundleForeign, match=f"signed by key {name}, which is not trusted here: .* keys trust FILE"
    ):
        load_current(here, MACHINE)
    (public,) = signing.list_trusted(locate_keys(there)).values()
    assert signing.trust(public, locate_keys(here)) == name
    assert load_current(here, MACHINE).signer == name
    renamed = locate_keys(here).trusted / "office.pem"
    (locate_keys(here).trusted / f"{name}.pem").rename(renamed)
    assert load_current(here, MACHINE).signer == name


def test_a_signature_by_a_key_under_a_false_name_is_refused(tmp_path: Path, bundle: Bundle) -> None:
    """The name of a trusted key does not help another key, nor does a name that leads out of the folder."""
    folder = save_bundle(tmp_path, bundle)
    (name,) = signing.list_trusted(locate_keys(tmp_path))
    foreign = msgspec.json.decode(
        signing.sign((folder / "checksums.json").read_bytes(), locate_keys(tmp_path / "foreign"))
    )
    for key in (name, "../../foreign/keys/trusted/x", "", name.upper()):
        (folder / "signature.json").write_bytes(msgspec.json.encode(foreign | {"key": key}))
        with pytest.raises(BundleDamaged):
            load_bundle(folder)


def test_bundles_from_before_signatures_go_on_and_are_signed_by_the_first_training(
    tmp_path: Path, bundle: Bundle
) -> None:
    """Without any key an old bundle is believed; the first new one makes a key, which signs it too."""
    old = save_as_of_old(tmp_path, bundle)
    assert load_current(tmp_path, MACHINE).signer == ""
    save_bundle(tmp_path, at(bundle, 60))
    (name,) = signing.list_trusted(locate_keys(tmp_path))
    assert load_bundle(old).signer == name
    late = save_as_of_old(tmp_path, at(bundle, 120), into=tmp_path / "other")
    with pytest.raises(BundleUnsigned):
        load_bundle(late)


def test_a_strange_card_does_not_keep_the_first_key_from_being_made(tmp_path: Path, bundle: Bundle) -> None:
    """Among the old bundles may be one that no version can read; the others are signed all the same."""
    old = save_as_of_old(tmp_path, bundle)
    strange = shutil.copytree(old, tmp_path / "a.b.c.d" / "v1")
    (strange / "card.json").write_bytes(b'{"format": 1}')
    sums = json.loads((strange / "checksums.json").read_bytes())
    sums["card.json"] = hashlib.sha256(b'{"format": 1}').hexdigest()
    (strange / "checksums.json").write_text(json.dumps(sums))
    save_bundle(tmp_path, at(bundle, 60))
    assert load_bundle(old).signer


def test_an_unsigned_bundle_of_today_is_refused_where_there_is_no_key_either(
    tmp_path: Path, bundle: Bundle
) -> None:
    """Only what is from before signatures needs none: taking signature and keys away helps nobody."""
    folder = save_bundle(tmp_path, bundle)
    (folder / "signature.json").unlink()
    shutil.rmtree(tmp_path / "keys")
    with pytest.raises(BundleUnsigned):
        load_bundle(folder)


def test_keys_may_lie_elsewhere(tmp_path: Path, bundle: Bundle) -> None:
    """With keys of another place the bundles' own folder has none, and its default is not believed."""
    keys = Keys(tmp_path / "secret" / "key.pem", tmp_path / "public")
    root = tmp_path / "bundles"
    save_bundle(root, bundle, keys)
    assert not (root / "keys").exists()
    assert load_current(root, MACHINE, keys).signer
    with pytest.raises(BundleForeign):
        load_current(root, MACHINE)


def test_of_many_trainings_at_once_one_makes_the_key(tmp_path: Path) -> None:
    """Threads and programs that sign first at the same time all end with the same key."""
    keys = locate_keys(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        signed = list(pool.map(lambda _: signing.sign(b"content", keys), range(32)))
    assert len(set(signed)) == 1
    assert len(signing.list_trusted(keys)) == 1
    assert sorted(path.name for path in tmp_path.rglob(".*")) == []


@pytest.mark.parametrize("kind", ["nothing", "rsa", "public"])
def test_a_key_that_is_none_is_named(tmp_path: Path, kind: str) -> None:
    """A file that holds no Ed25519 private key is refused with its name, and nothing is signed."""
    keys = locate_keys(tmp_path)
    keys.private.parent.mkdir()
    if kind == "rsa":
        words = ["openssl", "genpkey", "-algorithm", "rsa", "-out", str(keys.private)]
        subprocess.run(words, check=True, capture_output=True)
    elif kind == "public":
        other = locate_keys(tmp_path / "other")
        keys.private.write_bytes(signing.write_public(signing.make_key(other).public_key()))
    else:
        keys.private.write_text("nothing")
    with pytest.raises(KeyUnusable, match=str(keys.private)):
        signing.sign(b"content", keys)


def test_a_private_key_is_never_taken_for_a_public_one(tmp_path: Path) -> None:
    """Whoever passes the wrong file on is told so; the file is not copied."""
    keys = locate_keys(tmp_path)
    signing.make_key(keys)
    with pytest.raises(KeyUnusable, match="is a private key"):
        signing.trust(keys.private, locate_keys(tmp_path / "other"))
    assert not (tmp_path / "other").exists()


def test_the_service_loads_no_cryptography_before_it_needs_it(tmp_path: Path, bundle: Bundle) -> None:
    """The watcher's modules do without it; the first bundle brings it."""
    save_bundle(tmp_path, bundle)
    program = (
        "import sys\nfrom pathlib import Path\nimport cloud.watch.watcher, cloud.settings\n"
        "from models.anomaly.bundle import load_current\nfrom models.telemetry import MachinePath\n"
        "before = 'cryptography' in sys.modules\n"
        f"load_current(Path({str(tmp_path)!r}), MachinePath.parse({str(MACHINE)!r}))\n"
        "sys.exit(before or 'cryptography' not in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    assert find_current(tmp_path, MACHINE).is_dir()
