"""`forewarn models keys show | trust`, `forewarn models sign`: whose models this installation believes."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forewarn.commands.train import limit_threads
from models.errors import ForewarnError

if TYPE_CHECKING:
    from models.anomaly.signing import Keys

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The settings, cloud.yaml, of the bundles.")
]
BundlesOption = Annotated[
    Path | None,
    typer.Option("--bundles", metavar="DIR", help="The folder of bundles itself, without settings."),
]


class PlaceUnsaid(ForewarnError):
    """Nobody said whose keys are meant."""

    exit_code = 2


@app.callback()
def keys() -> None:
    """Show the key that signs models here, and trust keys of other installations."""


@app.command()
def show(
    config: ConfigOption = None,
    bundles: BundlesOption = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show which key signs models here, and which are trusted."""
    from models.anomaly.signing import list_trusted, name_key, read_private

    _, place = _locate(config, bundles)
    own = name_key(read_private(place).public_key()) if place.private.exists() else None
    trusted = {name: str(file) for name, file in list_trusted(place).items()}
    if as_json:
        typer.echo(json.dumps({"own": own, "private": str(place.private), "trusted": trusted}, indent=2))
        return
    if own is None:
        typer.echo(f"no model was trained here yet: the first training makes the key {place.private}")
    else:
        typer.echo(f"models trained here are signed by key {own} ({place.private})")
        file = Path(trusted[own]).name if own in trusted else "its public half, kept by the next training"
        typer.echo(f"  to have them believed elsewhere: forewarn models keys trust {file}")
    for name, file in trusted.items():
        typer.echo(f"trusted: {name}  {file}{'  (our own)' if name == own else ''}")


@app.command()
def trust(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A public key, as `keys show` names it there.")
    ],
    config: ConfigOption = None,
    bundles: BundlesOption = None,
) -> None:
    """Believe models that another installation's key has signed; deleting its file ends that."""
    from models.anomaly import bundle, signing

    root, place = _locate(config, bundles)
    signing.load_public(file)
    if old := bundle.adopt_unsigned(root, place):  # from now on nothing unsigned is believed
        typer.echo(f"{len(old)} models from before signatures were signed with our own key")
    name = signing.trust(file, place)
    typer.echo(f"trusted from now on: key {name}, kept in {place.trusted}")
    typer.echo("is that the name which `forewarn models keys show` prints there? If not, delete the file")


def sign(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder of a bundle.")],
    config: ConfigOption = None,
) -> None:
    """Vouch for a bundle that is known to be good, such as one from before signatures."""
    limit_threads()
    from models.anomaly.bundle import find_bundle, load_bundle, sign_bundle
    from models.anomaly.signing import locate_keys

    folder = find_bundle(bundle).absolute()
    place = locate_keys(folder.parent.parent) if config is None else _locate(config, None)[1]
    sign_bundle(folder, place)
    loaded = load_bundle(folder, place)
    typer.echo(f"{folder}: signed by key {loaded.signer}, for {loaded.card.machine}")


def find_keys(config: Path | None) -> "Keys | None":
    """Return where the keys lie that the settings name; None without settings: beside the bundles."""
    return None if config is None else _locate(config, None)[1]


def _locate(config: Path | None, bundles: Path | None) -> "tuple[Path, Keys]":
    """Return the folder of bundles, and where its keys lie."""
    from cloud.settings import CloudSettings
    from models.anomaly.signing import locate_keys
    from models.settings import load_settings

    if (config is None) == (bundles is None):
        raise PlaceUnsaid("say whose keys: --config cloud.yaml, or --bundles DIR")
    if bundles is not None:
        return bundles, locate_keys(bundles)
    assert config is not None
    settings = load_settings(config, CloudSettings)
    return settings.bundles, settings.watch.locate_keys(settings.bundles)
