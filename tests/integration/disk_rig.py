"""Small disks for the outbox: a tmpfs that another program fills."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.servers import miss

FILL = "exec cat /dev/zero > hog"


def need_root(what: str) -> None:
    """Skip the test where this user may not do `what`: no service that is missing, but a right."""
    if os.geteuid() != 0:
        pytest.skip(f"only root may {what}")


def run(*command: str) -> str:
    """Run a command that must work here; return what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        miss(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


@contextmanager
def mounted(folder: Path, *how: str) -> Iterator[Path]:
    """Mount something at `folder`, which is made; take it away at the end."""
    folder.mkdir()
    run("mount", *how, str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def small_disk(folder: Path, megabytes: int = 4) -> Iterator[Path]:
    """A disk of a few megabytes in memory."""
    need_root("mount a small disk")
    with mounted(folder, "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs") as disk:
        yield disk


class Hog:
    """Another program that fills the disk to the last byte."""

    def __init__(self, disk: Path) -> None:
        self._disk = disk

    def fill(self) -> None:
        """Take all that is left."""
        subprocess.run(["sh", "-c", FILL], cwd=self._disk, stderr=subprocess.DEVNULL, check=False)
        assert free_bytes(self._disk) == 0

    def leave(self) -> None:
        """Give it back."""
        with suppress(FileNotFoundError):
            (self._disk / "hog").unlink()


def free_bytes(disk: Path) -> int:
    """Return how much is free for everybody."""
    there = os.statvfs(disk)
    return there.f_bavail * there.f_frsize
