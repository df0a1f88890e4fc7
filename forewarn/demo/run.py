"""Runs a whole demo: finds a folder and a port, plays the story, ends clean on Ctrl-C."""

import contextlib
import shutil
import signal
import sys
import tempfile
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import msgspec

from forewarn.demo.plan import DemoRefused, Plan, Scenario, plan_demo
from forewarn.demo.programs import find_free_port, is_answering
from forewarn.demo.stage import Stage
from forewarn.demo.story import Story
from forewarn.demo.summary import Summary, tell_ending
from forewarn.places import find_configuration

CONSOLE_PORT = 8080


class DemoOptions(msgspec.Struct, frozen=True):
    """What the command line asked for. `port` None: the usual one, or a free one; `keep` None: nothing."""

    minutes: float
    scenario: str
    seed: int | None
    port: int | None
    browser: bool
    keep: Path | None
    summary: Path | None


def run_demo(options: DemoOptions) -> None:
    """Play one demo; raise `DemoRefused` for what it cannot show, `ProgramFailed` when a part breaks."""
    plan = plan_demo(parse_scenario(options.scenario), options.minutes)
    port = choose_console_port(options.port)
    with _folder(options.keep) as folder, _ending_in_order():
        stage = Stage(plan, find_configuration("demo/plant.yaml"), folder, port, options.seed)
        story = Story(stage, plan, tell)
        print_head(plan, folder)
        try:
            story.play(lambda: _open_browser(stage.console.url, options))
        except KeyboardInterrupt:
            tell(stage.seconds(), "interrupted: ending every program")
        finally:
            stage.close()
        _conclude(story.summarise(), plan, options)


def parse_scenario(word: str) -> Scenario:
    """Return the scenario of that name; raise `DemoRefused` naming those there are."""
    try:
        return Scenario(word)
    except ValueError:
        raise DemoRefused(f"--scenario {word!r} is not one of {', '.join(Scenario)}") from None


def choose_console_port(wanted: int | None) -> int:
    """Return the port of the console; raise `DemoRefused` when one asked for by name is taken."""
    if wanted is not None and is_answering(wanted):
        raise DemoRefused(
            f"port {wanted} on 127.0.0.1 is in use: choose another with --port, or stop the other program"
        )
    return find_free_port(CONSOLE_PORT if wanted is None else wanted)


def tell(at_s: float, words: str) -> None:
    """Print one timed line of the story."""
    sys.stdout.write(f"{at_s:6.1f} s  {words}\n")
    sys.stdout.flush()


def print_head(plan: Plan, folder: Path) -> None:
    """Say what is about to happen and where."""
    sys.stdout.write(
        f"Forewarn demo, scenario {plan.scenario}, {plan.end_s / 60:g} min: a simulated plant, an edge,\n"
        f"a broker and a cloud side on this computer's loopback; Ctrl-C ends it. Files are in {folder}\n\n"
    )


def _conclude(summary: Summary, plan: Plan, options: DemoOptions) -> None:
    sys.stdout.write("\n" + "\n".join(tell_ending(summary, plan)) + "\n")
    if options.keep is not None:
        sys.stdout.write(f"kept in {options.keep}: store, ledger, outbox, bundles, logs, and mail/*.html\n")
    if options.summary is not None:
        options.summary.write_bytes(msgspec.json.encode(summary) + b"\n")


def _open_browser(url: str, options: DemoOptions) -> None:
    if options.browser:
        with contextlib.suppress(webbrowser.Error):
            webbrowser.open(url)


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Yield the demo's folder: the one to keep, or one that goes away with the demo."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        if any(keep.iterdir()):
            raise DemoRefused(f"--keep {keep}: the folder is not empty; name a new one")
        yield keep.absolute()
        return
    folder = Path(tempfile.mkdtemp(prefix="forewarn-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _ending_in_order() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the demo in order, also where a shell had Ctrl-C ignored."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
