"""Cyclic garbage is searched for after a connection has ended, and not at each of them."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from edge.garbage import SWEEP_S, GarbageSweep


class Knot:
    """Refers to itself: only a search finds that nobody else does."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def no_other_search() -> Iterator[None]:
    """Python itself does not search meanwhile."""
    gc.disable()
    yield
    gc.enable()


def tie_knot() -> "weakref.ref[Knot]":
    """Leave a knot behind; return a look at it."""
    return weakref.ref(Knot())


def test_a_sweep_finds_what_a_connection_left_behind_once_a_minute() -> None:
    """Right after one sweep nothing is searched again; after a minute it is."""
    sweep, first = GarbageSweep(), tie_knot()
    sweep.sweep(100.0)
    assert first() is None
    second = tie_knot()
    sweep.sweep(100.0 + SWEEP_S / 2)
    assert second() is not None
    sweep.sweep(100.0 + SWEEP_S)
    assert second() is None
