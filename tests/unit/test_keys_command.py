"""`forewarn models keys` and `models sign`: what a person types to say whose models are believed."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from forewarn.cli import app
from forewarn.doctor.cloud import check_keys
from models.anomaly import signing
from models.anomaly.bundle import Bundle, BundleForeign, load_bundle, save_bundle
from models.anomaly.signing import locate_keys
from tests.unit.test_bundle import train
from tests.unit.test_bundle_signatures import at, save_as_of_old

CONFIG = """
records: {path: records.sqlite}
store: {kind: embedded, path: store.sqlite}
bundles: bundles
watch: {signing_key: secret/key.pem, trusted_keys: public}
"""


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """Give a bundle that is not kept yet."""
    return train()


def call(*words: str | Path) -> tuple[int, str]:
    """Return the exit code and all that was said, errors among it."""
    result = CliRunner().invoke(app, ["models", *map(str, words)])
    return result.exit_code, result.output + str(result.exception or "")


def test_keys_are_shown_and_trusted(tmp_path: Path, bundle: Bundle) -> None:
    """One installation shows its key, the other trusts the file it names, and then believes the model."""
    here, there = tmp_path / "here", tmp_path / "there"
    folder = save_bundle(there, bundle)
    shown = json.loads(call("keys", "show", "--bundles", there, "--json")[1])
    assert shown["trusted"][shown["own"]].endswith(f"{shown['own']}.pem")
    with pytest.raises(BundleForeign):
        load_bundle(folder, locate_keys(here))
    code, words = call("keys", "trust", shown["trusted"][shown["own"]], "--bundles", here)
    assert (code, shown["own"] in words) == (0, True)
    assert load_bundle(folder, locate_keys(here)).signer == shown["own"]
    assert "the first training makes the key" in call("keys", "show", "--bundles", here)[1]


def test_trusting_a_key_leaves_models_from_before_signatures_in_charge(
    tmp_path: Path, bundle: Bundle
) -> None:
    """From the first trusted key on nothing unsigned is believed, so what was there is signed before."""
    old = save_as_of_old(tmp_path / "here", bundle)
    other = locate_keys(tmp_path / "there")
    name = signing.name_key(signing.make_key(other).public_key())
    code, words = call("keys", "trust", other.trusted / f"{name}.pem", "--bundles", tmp_path / "here")
    assert code == 0
    assert "1 models from before signatures were signed with our own key" in words
    assert load_bundle(old).signer not in ("", name)


def test_a_bundle_is_signed_by_hand(tmp_path: Path, bundle: Bundle) -> None:
    """A model whose signature is lost is believed again after `models sign`, also by keys of the settings."""
    (tmp_path / "cloud.yaml").write_text(CONFIG)
    folder = save_bundle(tmp_path / "bundles", at(bundle, 1))
    (folder / "signature.json").unlink()
    code, words = call("sign", folder, "--config", tmp_path / "cloud.yaml")
    assert code == 0
    assert f"for {bundle.card.machine}" in words
    keys = signing.Keys(tmp_path / "secret" / "key.pem", tmp_path / "public")
    assert load_bundle(folder, keys).signer in words
    assert call("show", folder, "--config", tmp_path / "cloud.yaml")[0] == 0
    assert "which is not trusted here" in call("show", folder)[1]
    with pytest.raises(BundleForeign):
        load_bundle(folder)


def test_a_key_that_was_brought_is_shown_and_nothing_is_changed(tmp_path: Path) -> None:
    """Before it has signed anything a key of the settings is shown; looking trusts nothing."""
    (tmp_path / "cloud.yaml").write_text(CONFIG)
    made = signing.make_key(signing.Keys(tmp_path / "secret" / "key.pem", tmp_path / "elsewhere"))
    code, words = call("keys", "show", "--config", tmp_path / "cloud.yaml")
    assert (code, signing.name_key(made.public_key()) in words) == (0, True)
    assert not (tmp_path / "public").exists()


def test_the_doctor_looks_at_the_key(tmp_path: Path, bundle: Bundle) -> None:
    """A key that others can read is a warning with its mend, one that is none a failure, none is nothing."""
    keys = locate_keys(tmp_path)
    assert check_keys(keys) == []
    assert not keys.private.parent.exists()
    save_bundle(tmp_path, bundle)
    (found,) = check_keys(keys)
    assert (found.verdict, "1 trusted" in found.words) == ("ok", True)
    keys.private.chmod(0o640)
    (found,) = check_keys(keys)
    assert (found.verdict, f"chmod 600 {keys.private}" in found.words) == ("warn", True)
    keys.private.write_text("nothing")
    (found,) = check_keys(keys)
    assert (found.verdict, str(keys.private) in found.words) == ("fail", True)


def test_the_list_says_that_a_model_is_not_believed(tmp_path: Path, bundle: Bundle) -> None:
    """`models list` names the one that the pointer means, and why it cannot take charge."""
    (tmp_path / "cloud.yaml").write_text(CONFIG.replace("watch:", "# watch:"))
    folder = save_bundle(tmp_path / "bundles", bundle)
    assert "not in charge" not in call("list", "--config", tmp_path / "cloud.yaml")[1]
    (folder / "signature.json").unlink()
    words = call("list", "--config", tmp_path / "cloud.yaml")[1]
    assert f"not in charge: {folder}: nobody has signed it" in words


def test_somebody_must_be_meant(tmp_path: Path) -> None:
    """Without settings or folder the command asks whose keys, and reads nothing."""
    code, words = call("keys", "show")
    assert code != 0
    assert "say whose keys: --config cloud.yaml, or --bundles DIR" in words
