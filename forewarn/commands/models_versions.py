"""`forewarn models list | promote | rollback | reset`: which model of a machine is in charge."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forewarn.commands.train import limit_threads, parse_instant
from models.errors import ForewarnError
from models.words import say_instant

if TYPE_CHECKING:
    from cloud.settings import CloudSettings
    from cloud.watch.lessons import Lesson
    from cloud.watch.versions import Version
    from models.telemetry import MachinePath

ConfigOption = Annotated[Path, typer.Option("--config", metavar="FILE", help="The settings, cloud.yaml.")]
MachineOption = Annotated[str, typer.Option("--machine", help="site/area/line/machine")]


class MachineUnknown(ForewarnError):
    """No machine of that name is stored or has a model; the message lists those there are."""

    exit_code = 2


def list_models(
    config: ConfigOption,
    machine: Annotated[str | None, typer.Option("--machine", help="Only this one.")] = None,
) -> None:
    """Show each machine's models, the one in charge, how far learning is, and a grade for each tag."""
    limit_threads()
    from cloud.watch.drift_book import DriftBook
    from cloud.watch.learning_book import LearningBook
    from cloud.watch.refit_book import RefitBook
    from cloud.watch.versions import list_versions
    from models.telemetry import MachinePath

    settings = _load(config)
    engine = settings.records.build()
    try:
        lessons, drifts = LearningBook(engine).list(), DriftBook(engine).list()
        refits = RefitBook(engine).list()
    finally:
        engine.dispose()
    wanted = [MachinePath.parse(machine)] if machine else _list_machines(settings)
    for path in wanted:
        typer.echo(str(path))
        for version in list_versions(settings.bundles, path):
            typer.echo(f"  {_describe(version)}")
            if trouble := _find_trouble(version, settings):
                typer.echo(f"    not in charge: {trouble}")
        if str(path) in refits:
            kept = refits[str(path)]
            typer.echo(f"  last refit {say_instant(kept.at_ns)}: {kept.refit.words}")
        if str(path) in drifts:
            typer.echo(f"  drift: {drifts[str(path)].drift.describe()}")
        if path in lessons:
            _show_lesson(lessons[path])


def promote(
    config: ConfigOption,
    machine: MachineOption,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="As `forewarn models list` shows it.")],
) -> None:
    """Put a version in charge; a running cloud takes it within seconds."""
    limit_threads()
    from cloud.watch import versions
    from models.telemetry import MachinePath

    settings = _load(config)
    keys = settings.watch.locate_keys(settings.bundles)
    chosen = versions.promote(settings.bundles, MachinePath.parse(machine), version, keys)
    typer.echo(f"{machine}: {chosen.name} is in charge")


def rollback(config: ConfigOption, machine: MachineOption) -> None:
    """Put the version before the current one in charge."""
    limit_threads()
    from cloud.watch import versions
    from models.telemetry import MachinePath

    settings = _load(config)
    keys = settings.watch.locate_keys(settings.bundles)
    chosen = versions.roll_back(settings.bundles, MachinePath.parse(machine), keys)
    typer.echo(f"{machine}: {chosen.name} is in charge again")


def reset(
    config: ConfigOption,
    machine: MachineOption,
    since: Annotated[
        str | None, typer.Option("--since", help="When the machine ran again, as 2026-11-23T08:00:00Z; now.")
    ] = None,
) -> None:
    """Let a repaired machine learn anew: nothing from before counts as normal any more.

    Its models are kept and can be promoted again. Until it has learned it is shown as learning.
    """
    limit_threads()
    from cloud.watch.versions import FreshStarts, retire
    from models.telemetry import MachinePath

    settings, path = _load(config), MachinePath.parse(machine)
    if path not in (known := _list_machines(settings)):
        names = ", ".join(str(one) for one in known) or "none"
        raise MachineUnknown(f"{machine} is neither stored nor has it a model: there are {names}")
    since_ns = parse_instant(since)
    since_ns = time.time_ns() if since_ns is None else since_ns
    engine = settings.records.build()
    try:
        FreshStarts(engine).put(path, since_ns)
    finally:
        engine.dispose()
    had_one = retire(settings.bundles, path)
    end = "its model is out of charge" if had_one else "it had no model in charge"
    typer.echo(f"{machine}: learns from values since {say_instant(since_ns)}; {end}")


def _list_machines(settings: "CloudSettings") -> "list[MachinePath]":
    """Return the machines that are stored or have a model."""
    from models.telemetry import MachinePath

    reader = settings.store.build_reader()
    try:
        stored = {known.machine for known in reader.list_machines()}
    finally:
        reader.close()
    homes = settings.bundles.glob("*.*.*.*") if settings.bundles.is_dir() else []
    return sorted(stored | {MachinePath.parse(home.name.replace(".", "/")) for home in homes})


def _find_trouble(version: "Version", settings: "CloudSettings") -> str:
    """Return why the current version cannot take charge, "" where it can."""
    from models.anomaly.bundle import BundleDamaged, load_bundle

    if not version.is_current:
        return ""
    try:
        load_bundle(version.folder, settings.watch.locate_keys(settings.bundles))
    except BundleDamaged as error:
        return str(error)
    return ""


def _describe(version: "Version") -> str:
    mark = "in charge" if version.is_current else "kept"
    if version.card is None:
        return f"{version.name}  {mark}  {version.trouble}"
    card = version.card
    promise = "provisional" if card.limit.provisional else "calibrated"
    return (
        f"{version.name}  {mark}  {card.detector}, {len(card.tags)} tags, {card.rows} rows from "
        f"{say_instant(card.first_ns)} to {say_instant(card.last_ns)}, "
        f"limit {card.limit.value:.2f} ({promise})"
    )


def _show_lesson(lesson: "Lesson") -> None:
    typer.echo(f"  values: {lesson.describe()}")
    for tag, found in sorted(lesson.grades.items()):
        typer.echo(f"    {tag}: {found.grade} ({found.reason})")


def _load(file: Path) -> "CloudSettings":
    from cloud.settings import CloudSettings
    from models.settings import load_settings

    return load_settings(file, CloudSettings)
