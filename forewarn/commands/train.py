"""`forewarn cloud train`: learn what normal is from what is stored."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models import recordings
from models.errors import ForewarnError
from models.words import say_instant

if TYPE_CHECKING:
    from cloud.settings import CloudSettings
    from cloud.watch.cluster import Cluster
    from cloud.watch.training import Span
    from models.anomaly.bundle import Card


class InstantRejected(ForewarnError):
    """A time on the command line that cannot be read; the message says how to write one."""

    exit_code = 2


class ClusterMissing(ForewarnError):
    """Nothing here can speak to a cluster's scheduler; the message says what to install."""

    exit_code = 2


def train(
    config: Annotated[Path, typer.Option("--config", help="The settings file of the cloud.")],
    machine: Annotated[
        list[str] | None, typer.Option("--machine", help="site/area/line/machine; may be repeated.")
    ] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Train every stored machine.")] = False,
    start: Annotated[
        str | None, typer.Option("--from", help="Begin of normal running, as 2026-11-23T08:00:00Z.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="End of normal running, not included.")] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Machines at a time; as many as cores if not said.")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler",
            metavar="tcp://HOST:PORT",
            help="With --all: let a Dask cluster's workers learn instead of this computer's cores.",
        ),
    ] = None,
) -> None:
    """Learn what normal is for machines from their stored values, and put it in charge.

    Choose a span in which the machines ran well: what is in it counts as normal. A running cloud takes the
    new models within seconds. With --all a call that was interrupted may be repeated: machines already
    trained from the same values are left as they are.
    """
    limit_threads()
    span_ns = (parse_instant(start), parse_instant(end))
    if bool(machine) == every:
        raise typer.BadParameter("say which machines: --machine PATH (may be repeated), or --all")
    if scheduler is not None and not every:
        raise typer.BadParameter("--scheduler is for many machines: say --all")
    from cloud.settings import CloudSettings
    from models.settings import load_settings

    settings = load_settings(config, CloudSettings)
    if every:
        train_fleet(settings, span_ns, jobs, scheduler)
    else:
        train_named(settings, machine or [], span_ns)


def train_named(settings: "CloudSettings", machines: list[str], span_ns: "Span") -> None:
    """Train machines one by one and say what each model is; raise `ForewarnError` with all failures."""
    from cloud.ingest.gaps import list_gaps
    from cloud.machines import CardBox
    from cloud.watch.training import train_machine
    from models.telemetry import MachinePath

    reader, engine = settings.store.build_reader(), settings.records.build()
    failures = []
    try:
        for path in [MachinePath.parse(path) for path in machines]:
            gaps = [one.gap for one in list_gaps(engine, machine=path)]
            try:
                units = CardBox(settings.machines).list_units(path)
                trained = train_machine(reader, settings.bundles, path, span_ns, settings.watch, gaps, units)
            except ForewarnError as error:
                failures.append(str(error))
                continue
            typer.echo(describe_card(trained.bundle.card))
            typer.echo(f"  learned in {trained.seconds:.1f} s, kept in {trained.folder}")
    finally:
        reader.close()
        engine.dispose()
    if failures:
        raise ForewarnError("\n".join(failures))


def train_fleet(
    settings: "CloudSettings", span_ns: "Span", jobs: int | None, scheduler: str | None = None
) -> None:
    """Train every stored machine with a bar, then say what became of them; exit 1 on failures."""
    from cloud.machines import CardBox
    from cloud.watch.fleet import Fleet
    from cloud.watch.training import learn_rows

    engine = settings.records.build()
    reader = settings.store.build_reader()
    try:
        machines = [stored.machine for stored in reader.list_machines()]
    finally:
        reader.close()
    counts = {"trained": 0, "unchanged": 0, "failed": 0}
    failures = []
    cluster = open_cluster(scheduler)
    try:
        fleet = Fleet(
            settings.store,
            settings.bundles,
            engine,
            settings.watch,
            jobs=jobs or (cluster.jobs if cluster else -1),
            cards=CardBox(settings.machines),
            learn=cluster.learn if cluster else learn_rows,
        )
        with typer.progressbar(length=len(machines), file=sys.stderr, label="training") as bar:
            for result in fleet.train(machines, span_ns):
                counts[result.outcome] += 1
                if result.outcome == "failed":
                    failures.append(f"{result.machine}: {result.words}")
                bar.update(1)
    finally:
        if cluster:
            cluster.close()
        engine.dispose()
    for line in sorted(failures):
        typer.echo(f"failed: {line}", err=True)
    typer.echo(
        f"{len(machines)} machines: {counts['trained']} trained, {counts['unchanged']} unchanged "
        f"(same values as before), {counts['failed']} failed"
    )
    if failures:
        raise typer.Exit(1)


def open_cluster(scheduler: str | None) -> "Cluster | None":
    """Connect to a Dask cluster, None without an address; raise `ClusterMissing` or `ClusterLost`."""
    if scheduler is None:
        return None
    try:
        from cloud.watch.cluster import Cluster
    except ModuleNotFoundError as error:
        raise ClusterMissing(
            f"--scheduler {scheduler}: training on a Dask cluster needs the package `{error.name}`, which "
            "this installation does not have: pip install 'forewarn[cloud,dask]', or leave --scheduler out: "
            "then the cores of this computer are used"
        ) from error
    return Cluster(scheduler)


def limit_threads() -> None:
    """Keep numpy's linear algebra to one thread: small matrices lose time to more. Before numpy is loaded."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def parse_instant(text: str | None) -> int | None:
    """Return nanoseconds since 1970 of an ISO 8601 time; one without a zone is meant as UTC."""
    if text is None:
        return None
    try:
        return recordings.parse_instant(text, earliest_ns=0)
    except recordings.NotAnInstant as error:
        raise InstantRejected(str(error)) from error


def describe_card(card: "Card") -> str:
    """Return what a bundle is, for a person."""
    limit = card.limit
    lines = [
        f"{card.machine}: {card.rows} rows of {len(card.tags)} tags, one every {card.grid_s:g} s, "
        f"from {say_instant(card.first_ns)} to {say_instant(card.last_ns)}",
        f"  tags: {', '.join(card.tags)}",
    ]
    lines += [f"  left out: {tag} ({reason})" for tag, reason in card.left_out.items()]
    lines.append(
        f"  limit {limit.value:.2f} (99 % of held-out scores are below {limit.quantiles['0.99']:.2f}), "
        f"from {limit.independent_windows} independent windows of {card.windows.longest * card.grid_s:g} s"
    )
    lines += describe_running(card)
    if card.promise:
        low, high = card.promise.band
        lines.append(
            f"  {card.detector} promises {card.promise.promised:.3g} false alarms a month "
            f"(asked: {card.promise.asked:.3g}; likely {low:.2g} to {high:.2g}; "
            f"this span supports {card.promise.floor:.3g} or more)"
        )
    if limit.provisional:
        lines.append(
            "  provisional: too short a span to promise how rare false alarms will be; train on more"
        )
    return "\n".join(lines)


def describe_running(card: "Card") -> list[str]:
    """Return how the machine's ways of running are told apart, and what was learned of each."""
    running = card.running
    if running is None:
        return []
    lines = [
        f"  running, {running.describe(number)}: {rows} rows, limit {limit:.2f}"
        for number, rows, limit in zip(running.numbers, running.rows, running.limits, strict=True)
    ]
    if running.signals:
        lines.append(f"  only say how it runs: {', '.join(running.signals)}")
    return lines
