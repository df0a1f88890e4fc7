"""`forewarn cloud ...`: run the cloud service, prove that nothing is missing, look at dead letters."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forewarn.commands import cloud_store, import_csv, train

if TYPE_CHECKING:
    from cloud.settings import CloudSettings

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
letters_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(letters_app, name="dead-letters")
app.command("train")(train.train)
app.command("setup-store")(cloud_store.setup_store)
app.command("check-store")(cloud_store.check_store)
app.command("import")(import_csv.import_csv)
app.command("export")(import_csv.export_csv)

ConfigOption = Annotated[Path, typer.Option("--config", metavar="FILE", help="the settings, cloud.yaml")]
LogFormatOption = Annotated[str, typer.Option("--log-format", help="auto, text or json")]
JsonOption = Annotated[bool, typer.Option("--json", help="for programs")]


@app.callback()
def cloud() -> None:
    """What runs beside the database."""


@letters_app.callback()
def letters() -> None:
    """Messages that could not be stored, and why."""


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
    from cloud.ingest.gaps import account_gaps, list_gaps
    from cloud.ingest.ledger import list_accounts

    settings = _load(config)
    engine = settings.records.build()
    days = cloud_store.read_back(settings, engine, now=read_back)
    gaps = account_gaps(list_gaps(engine, gateway=gateway))
    accounts = [
        verification.verify(one, gaps.get((one.gateway, one.epoch))) for one in list_accounts(engine, gateway)
    ]
    if as_json:
        typer.echo(msgspec.json.encode(accounts).decode())
    else:
        for line in days.lines:
            typer.echo(line)
        typer.echo(verification.describe(accounts))
    raise typer.Exit(1 if days.damaged or any(one.batches_missing for one in accounts) else 0)


@letters_app.command("list")
def list_letters(config: ConfigOption, as_json: JsonOption = False) -> None:
    """List the newest dead letters."""
    import msgspec

    from cloud.alerts.words import say_time
    from cloud.ingest.dead_letters import list_heads

    settings = _load(config)
    letters = settings.dead_letters.build(settings.records.build()).list_newest()
    if as_json:
        typer.echo(msgspec.json.encode(list_heads(letters)).decode())
        return
    for letter in letters:
        replayed = f" (replayed {say_time(letter.replayed_ns)})" if letter.replayed_ns else ""
        typer.echo(f"{letter.id}  {say_time(letter.received_ns)}  {letter.topic!r} x{letter.times}{replayed}")
        typer.echo(f"    {letter.reason}")
    if not letters:
        typer.echo("there are no dead letters")


@letters_app.command("show")
def show_letter(letter_id: Annotated[int, typer.Argument(metavar="ID")], config: ConfigOption) -> None:
    """Show one dead letter with its payload."""
    from cloud.alerts.words import say_time

    settings = _load(config)
    letter = settings.dead_letters.build(settings.records.build()).get(letter_id)
    typer.echo(f"topic     {letter.topic!r}")
    typer.echo(f"received  {say_time(letter.received_ns)}, {letter.times} times")
    typer.echo(f"reason    {letter.reason}")
    if letter.replayed_ns:
        typer.echo(f"replayed  {say_time(letter.replayed_ns)}")
    # A terminal obeys control characters: what came from outside is shown escaped.
    typer.echo(f"payload   {len(letter.payload)} bytes\n{ascii(letter.payload)[2:-1]}")


@letters_app.command("replay")
def replay_letters(
    config: ConfigOption,
    ids: Annotated[list[int] | None, typer.Argument(metavar="ID...")] = None,
    every: Annotated[bool, typer.Option("--all", help="all that are not replayed yet")] = False,
) -> None:
    """Store dead letters again; exit 1 when one is still bad, which keeps it with its new reason."""
    from cloud.ingest.ledger import Ledger
    from cloud.ingest.replay import Replayer
    from models.telemetry import Topics

    if bool(ids) == every:
        raise typer.BadParameter("say the numbers of the letters, or --all")
    settings = _load(config)
    engine = settings.records.build()
    letters = settings.dead_letters.build(engine)
    writer = settings.store.build_writer()
    replayer = Replayer(Topics(settings.namespace), writer, Ledger(engine), letters)
    try:
        replays = [replayer.replay(one) for one in (letters.list_unreplayed() if every else ids or [])]
    finally:
        writer.close()
    for one in replays:
        typer.echo(f"{one.id}  stored" if one.stored else f"{one.id}  still bad: {one.reason}")
    raise typer.Exit(0 if all(one.stored for one in replays) else 1)


def _load(file: Path) -> "CloudSettings":
    from cloud.settings import CloudSettings
    from models.settings import load_settings

    return load_settings(file, CloudSettings)
