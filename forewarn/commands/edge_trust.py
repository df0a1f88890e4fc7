"""`forewarn edge trust`: a person says that an OPC UA server's certificate is the right one."""

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from forewarn.commands.edge_settings import load_edge


def trust(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="as the error or the list names it")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="the settings, edge.yaml, that name the folders"),
    ] = None,
    pki: Annotated[Path | None, typer.Option(metavar="DIR", help="the folder of certificates itself")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object per certificate")] = False,
) -> None:
    """Trust a certificate that an OPC UA server has shown. Without NAME list those that wait."""
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
            until, print_ = certificate.not_valid_after_utc, write_fingerprint(certificate)
            if as_json:
                _tell_json(waits, name_certificate(certificate), until, print_, trusted=name == waits)
                continue
            typer.echo(f"{waits}: {name_certificate(certificate)}, valid until {until:%Y-%m-%d}")
            typer.echo(f"  SHA-256 {print_}")
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
        typer.echo(f"trusted from now on: {folder / name}.der", err=as_json)


def _tell_json(name: str, subject: str, until: datetime, sha256: str, *, trusted: bool) -> None:
    told = {"name": name, "subject": subject, "ends": f"{until:%Y-%m-%dT%H:%M:%SZ}", "sha256": sha256}
    typer.echo(json.dumps(told | {"trusted": trusted}))


def _find_folders(config: Path | None) -> list[Path]:
    from edge.drivers.opcua.settings import OpcuaMachineSettings
    from models.settings import SettingsError

    if config is None:
        raise SettingsError("say where the certificates are: --config edge.yaml, or --pki DIR")
    folders = {
        machine.security.pki: None
        for machine in load_edge(config).machines
        if isinstance(machine, OpcuaMachineSettings) and machine.security is not None
    }
    if not folders:
        raise SettingsError(f"{config}: no machine has security, so there are no certificates to trust")
    return list(folders)
