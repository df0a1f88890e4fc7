"""`forewarn cloud ...`: run the cloud service, prove that nothing is missing."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forewarn.commands import cloud_files, cloud_store, dead_letters, train

if TYPE_CHECKING:
    from cloud.settings import CloudSettings

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(dead_letters.app, name="dead-letters")
app.command("train")(train.train)
app.command("setup-store")(cloud_store.setup_store)
app.command("check-store")(cloud_store.check_store)
app.command("import")(cloud_files.import_file)
app.command("export")(cloud_files.export_file)

ConfigOption = Annotated[Path, typer.Option("--config", metavar="FILE", help="the settings, cloud.yaml")]
LogFormatOption = Annotated[str, typer.Option("--log-format", help="auto, text or json")]
JsonOption = Annotated[bool, typer.Option("--json", help="for programs")]


@app.callback()
def cloud() -> None:
    """What runs beside the database."""


@app.command("run")
def run(config: ConfigOption, log_format: LogFormatOption = "auto") -> None:
    """Take in, store, watch, warn and show, until told to stop."""
    train.limit_threads()
    from cloud.service import run_cloud
    from forewarn.logs import set_up_logs
    from models.link import check_credentials
    from models.settings import read_secrets

    settings = _load(config)
    read_secrets(settings)
    check_credentials(settings.broker)
    set_up_logs("json" if log_format == "json" else "text" if log_format == "text" else "auto")
    run_cloud(settings, lambda address: typer.echo(f"console at {address}"))


@app.command("verify")
def verify(
    config: ConfigOption,
    gateway: Annotated[str | None, typer.Option(metavar="NAME", help="only this gateway")] = None,
    read_back: Annotated[
        bool, typer.Option("--read-back", help="ask the store now what it has; else as of last night")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show produced, stored and missing, gateway by gateway; exit 1 when anything is missing."""
    import msgspec

    from cloud.ingest import verification
    from cloud.ingest.day_counts import list_days
    from cloud.ingest.gaps import account_gaps, list_gaps
    from cloud.ingest.ledger import list_accounts
    from cloud.ingest.letter_drops import list_drops
    from cloud.ingest.read_back import account_days, describe

    settings = _load(config)
    engine = settings.records.build()
    if read_back:
        cloud_store.ask_store(settings, engine)
    days = list_days(engine)
    gaps = account_gaps(list_gaps(engine, gateway=gateway))
    accounts = [
        verification.verify(one, gaps.get((one.gateway, one.epoch))) for one in list_accounts(engine, gateway)
    ]
    drops = list_drops(engine, gateway)
    if as_json:
        proof = {"gateways": accounts, "read_back": account_days(engine), "dead_letters_dropped": drops}
        typer.echo(msgspec.json.encode(proof).decode())
    else:
        for line in describe(days):
            typer.echo(line)
        for drop in drops:
            typer.echo(drop.describe())
        typer.echo(verification.describe(accounts))
    raise typer.Exit(
        1 if any(row.missing for row in days) or any(one.batches_missing for one in accounts) else 0
    )


def _load(file: Path) -> "CloudSettings":
    from cloud.settings import CloudSettings
    from models.settings import load_settings

    return load_settings(file, CloudSettings)
