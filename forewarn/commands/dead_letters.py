"""`forewarn cloud dead-letters ...`: what could not be stored and why; store it again, or export it."""

import base64
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from cloud.ingest.dead_letters import DeadLetter, DeadLetters
    from cloud.settings import CloudSettings

PAYLOAD_CHARS_SHOWN = 4_000
TAGS_SHOWN = 8

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

ConfigOption = Annotated[Path, typer.Option("--config", metavar="FILE", help="the settings, cloud.yaml")]
GatewayOption = Annotated[str | None, typer.Option(metavar="NAME", help="only those of this gateway")]
JsonOption = Annotated[bool, typer.Option("--json", help="for programs")]
IdsArgument = Annotated[list[int] | None, typer.Argument(metavar="ID...")]


@app.callback()
def letters() -> None:
    """Messages that could not be stored, and why."""


@app.command("list")
def list_letters(
    config: ConfigOption,
    gateway: GatewayOption = None,
    count_max: Annotated[int, typer.Option("--max", min=1, help="how many, newest first")] = 100,
    as_json: JsonOption = False,
) -> None:
    """List the newest dead letters with their reasons, and say how many there are."""
    import msgspec

    from cloud.ingest.dead_letters import list_heads

    box = _open_box(config)
    found = box.list_newest(count_max, gateway)
    if as_json:
        typer.echo(msgspec.json.encode(list_heads(found)).decode())
        return
    for letter in found:
        typer.echo(_describe_head(letter))
        typer.echo(f"    {letter.reason}")
    kept = box.count(gateway)
    if not kept.letters:
        typer.echo("there are no dead letters")
        return
    from models.words import say_bytes

    typer.echo(
        f"{kept.letters:,} dead letters, {say_bytes(kept.payload_bytes)}; "
        f"{kept.letters - kept.replayed:,} not replayed; shown: {len(found):,}"
    )


@app.command("show")
def show_letter(letter_id: Annotated[int, typer.Argument(metavar="ID")], config: ConfigOption) -> None:
    """Show one dead letter with what is in it."""
    from cloud.alerts.words import say_time

    letter = _open_box(config).get(letter_id)
    typer.echo(f"topic     {letter.topic!r}")
    typer.echo(f"received  {say_time(letter.received_ns)}, {letter.times} times")
    typer.echo(f"reason    {letter.reason}")
    if letter.replayed_ns:
        typer.echo(f"replayed  {say_time(letter.replayed_ns)}")
    typer.echo(f"content   {_describe_payload(letter.payload)}")
    # A terminal obeys control characters: what came from outside is shown escaped.
    shown = ascii(letter.payload[:PAYLOAD_CHARS_SHOWN])[2:-1]
    more = " (its beginning; all of it by export)" if len(letter.payload) > PAYLOAD_CHARS_SHOWN else ""
    typer.echo(f"payload   {len(letter.payload)} bytes{more}\n{shown}")


@app.command("replay")
def replay_letters(
    config: ConfigOption,
    ids: IdsArgument = None,
    every: Annotated[bool, typer.Option("--all", help="all that are not replayed yet")] = False,
    gateway: GatewayOption = None,
) -> None:
    """Store dead letters again; exit 1 when one is still bad, which keeps it with its new reason."""
    from cloud.ingest.ledger import Ledger
    from cloud.ingest.replay import Replayer
    from models.telemetry import Topics

    settings = _load(config)
    engine = settings.records.build()
    box = settings.dead_letters.build(engine)
    chosen = _choose(box, ids, every or gateway is not None, gateway, unreplayed=True)
    stored = 0
    with closing(settings.store.build_writer()) as writer:
        replayer = Replayer(Topics(settings.namespace), writer, Ledger(engine), box)
        for letter_id in chosen:
            replay = replayer.replay(letter_id)
            stored += replay.stored
            verdict = "stored" if replay.stored else f"still bad: {replay.reason}"
            typer.echo(f"{letter_id}  {verdict}")
    if len(chosen) > 1:
        typer.echo(f"{stored:,} of {len(chosen):,} are stored")
    raise typer.Exit(0 if stored == len(chosen) else 1)


@app.command("export")
def export_letters(
    file: Annotated[Path, typer.Argument(metavar="FILE.jsonl")],
    config: ConfigOption,
    ids: IdsArgument = None,
    gateway: GatewayOption = None,
) -> None:
    """Write dead letters (all, or those said) into a file, one JSON object a line; they stay where they are.

    `payload` is the message as text; one that is no UTF-8 stands in `payload_base64` instead.
    """
    import json

    box = _open_box(config)
    count = 0
    chosen = _choose(box, ids, every=not ids, gateway=gateway, unreplayed=False)
    try:
        with file.open("w", encoding="utf-8") as opened:
            for facts in _list_facts(box, chosen):
                opened.write(json.dumps(facts, ensure_ascii=False) + "\n")
                count += 1
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be written: {error.strerror}") from error
    typer.echo(f"{count:,} dead letters are in {file}")


def _list_facts(box: "DeadLetters", ids: list[int]) -> Iterator[dict[str, Any]]:
    from cloud.ingest.dead_letters import list_heads
    from models.words import say_instant

    for letter_id in ids:
        letter = box.get(letter_id)
        (facts,) = list_heads([letter])
        facts["received"] = say_instant(letter.received_ns)
        try:
            facts["payload"] = letter.payload.decode()
        except UnicodeDecodeError:
            facts["payload_base64"] = base64.b64encode(letter.payload).decode()
        yield facts


def _choose(
    box: "DeadLetters", ids: list[int] | None, every: bool, gateway: str | None, *, unreplayed: bool
) -> list[int]:
    if bool(ids) == every:
        raise typer.BadParameter("say the numbers of the letters, or --all, or --gateway")
    return list(ids) if ids else box.list_ids(gateway, unreplayed=unreplayed)


def _describe_head(letter: "DeadLetter") -> str:
    from cloud.alerts.words import say_time

    replayed = f" (replayed {say_time(letter.replayed_ns)})" if letter.replayed_ns else ""
    return f"{letter.id}  {say_time(letter.received_ns)}  {letter.topic!r} x{letter.times}{replayed}"


def _describe_payload(payload: bytes) -> str:
    """Return what a payload holds, as far as it can be read."""
    from models.telemetry import BatchRejected, count_values, decode_batch
    from models.words import say_instant

    try:
        batch = decode_batch(payload)
    except BatchRejected as error:
        return f"not a batch that can be read: {error}"
    tags = list(dict.fromkeys(tag for frame in batch.frames for tag in frame.values))
    instants = [at for frame in batch.frames for at in (frame.timestamps[0], frame.timestamps[-1])]
    span = f", {say_instant(min(instants))} to {say_instant(max(instants))}" if instants else ""
    more = len(tags) - TAGS_SHOWN
    named = ", ".join(ascii(tag) for tag in tags[:TAGS_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return (
        f"batch {batch.sequence} of {batch.gateway} (epoch {batch.epoch}): "
        f"{count_values(batch.frames):,} values of {named or 'no tag'}{span}"
    )


def _open_box(config: Path) -> "DeadLetters":
    settings = _load(config)
    return settings.dead_letters.build(settings.records.build())


def _load(file: Path) -> "CloudSettings":
    from cloud.settings import CloudSettings
    from models.settings import load_settings

    return load_settings(file, CloudSettings)
