"""`forewarn edge trust`: a person says that an OPC UA server's certificate is the right one."""

from pathlib import Path
from typing import Annotated

import typer


def trust(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="as the error or the list names it")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="the settings, edge.yaml, that name the folders"),
    ] = None,
    pki: Annotated[Path | None, typer.Option(metavar="DIR", help="the folder of certificates itself")] = None,
) -> None:
    """Trust a certificate that an OPC UA server has shown; without NAME list those that wait."""
    from edge.drivers.opcua.certificates import name_certificate, write_fingerprint
    from edge.drivers.opcua.pki import Pki, PkiUnusable

    folders = [pki] if pki is not None else _find_folders(config)
    waiting = [
        (Pki(folder), waits, certificate)
        for folder in folders
        for waits, certificate in Pki(folder).list_rejected()
    ]
    for _, waits, certificate in waiting:
        if name in (None, waits):
            until = f"valid until {certificate.not_valid_after_utc:%Y-%m-%d}"
            typer.echo(f"{waits}: {name_certificate(certificate)}, {until}")
            typer.echo(f"  SHA-256 {write_fingerprint(certificate)}")
    places = ", ".join(str(Pki(folder).rejected) for folder in folders)
    if name is None:
        typer.echo(f"{len(waiting)} waiting in {places}", err=True)
        return
    chosen = {place.trusted: place for place, waits, _ in waiting if waits == name}
    if not chosen:
        known = ", ".join(waits for _, waits, _ in waiting) or "none is waiting there"
        raise PkiUnusable(f"{places}: has no certificate {name} (there: {known})")
    for folder, place in chosen.items():
        place.trust(name)
        typer.echo(f"trusted from now on: {folder / name}.der")


def _find_folders(config: Path | None) -> list[Path]:
    from edge.drivers.opcua.settings import OpcuaMachineSettings
    from edge.settings import EdgeSettings
    from models.settings import SettingsError, load_settings

    if config is None:
        raise SettingsError("say where the certificates are: --config edge.yaml, or --pki DIR")
    folders = {
        machine.security.pki: None
        for machine in load_settings(config, EdgeSettings).machines
        if isinstance(machine, OpcuaMachineSettings) and machine.security is not None
    }
    if not folders:
        raise SettingsError(f"{config}: no machine has security, so there are no certificates to trust")
    return list(folders)
