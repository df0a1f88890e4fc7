"""The line between the custody tests' namespaces: it delays, loses and keeps the order."""

import socket
from collections.abc import Iterator

import pytest

from tests.custody.wire import Line

Ends = tuple[socket.socket, socket.socket, socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """A program, the line's left and right end, another program."""
    one, left = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    right, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for end in (one, left, right, other):
        end.setblocking(False)
    yield one, left, right, other
    for end in (one, left, right, other):
        end.close()


def read_all(end: socket.socket) -> list[bytes]:
    """Return what waits there."""
    found = []
    while True:
        try:
            found.append(end.recv(100))
        except BlockingIOError:
            return found


def test_it_delays_and_keeps_the_order(ends: Ends) -> None:
    """Nothing comes before its time, and what is sent once the line is quick again overtakes nothing."""
    one, left, right, other = ends
    line = Line(left, right)
    line.change(0.15, 0.0, 0.0)
    one.send(b"first")
    line.take(left, 10.0)
    assert line.deliver(10.1) == pytest.approx(0.05)
    assert read_all(other) == []
    line.change(0.0, 0.0, 0.0)
    one.send(b"second")
    line.take(left, 10.1)
    assert line.deliver(10.16) is None
    assert read_all(other) == [b"first", b"second"]


def test_it_loses_one_way_only(ends: Ends) -> None:
    """Answers vanish while what is said arrives; without a frame nothing happens."""
    one, left, right, other = ends
    line = Line(left, right)
    line.change(0.0, 0.0, 1.0)
    one.send(b"said")
    other.send(b"answered")
    for end in (left, right, left):
        line.take(end, 1.0)
    line.deliver(1.0)
    assert (read_all(other), read_all(one), line.lost) == ([b"said"], [], 1)


def test_it_loses_the_part_it_was_told_to(ends: Ends) -> None:
    """A tenth of many frames, more or less."""
    one, left, right, other = ends
    line = Line(left, right)
    line.change(0.0, 0.1, 0.0)
    for _ in range(1_000):
        one.send(b"x")
        line.take(left, 1.0)
        line.deliver(1.0)
        read_all(other)
    assert 60 < line.lost < 140
