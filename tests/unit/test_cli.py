"""The command line opens quickly: it loads what it shows, and nothing of what the commands need."""

import subprocess
import sys

HEAVY = (
    *("numpy", "scipy", "sklearn", "pandas", "matplotlib", "asyncua", "pymodbus", "paho", "sqlalchemy"),
    *("fastapi", "ruamel", "structlog", "influxdb_client", "msgspec", "psutil", "rich", "zstandard"),
)


def list_loaded(*arguments: str) -> set[str]:
    """Return the top-level modules that `forewarn ARGUMENTS` has loaded when it ends."""
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "forewarn", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in told.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def test_help_loads_nothing_heavy() -> None:
    """`forewarn --help` and the help of its groups stay far below 0.3 s because of this."""
    assert not list_loaded("--help") & {*HEAVY, "pydantic"}
    # typer itself takes pydantic along for the parameters of a command.
    for arguments in (["edge", "--help"], ["cloud", "run", "--help"], ["demo", "--help"]):
        assert not list_loaded(*arguments) & set(HEAVY), arguments


def test_every_group_says_what_it_is_for() -> None:
    """A person finds the way from the top."""
    told = subprocess.run(
        [sys.executable, "-m", "forewarn", "--help"], capture_output=True, text=True, check=True
    )
    for group in ("edge", "cloud", "models", "simulate", "demo"):
        assert f"  {group} " in told.stdout
