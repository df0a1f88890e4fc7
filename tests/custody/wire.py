"""A line between two links that delays and loses packets, below TCP: a program in a network namespace.

`python -m tests.custody.wire LEFT RIGHT` carries every frame from the one link to the other. Each line
`LATENCY_S LOSS_OUT LOSS_BACK` on its input is from then on how late frames come and which part of them never
does, out (left to right) and back; it is answered by a line. It ends with its input.

Linux has `netem` for this, but not every kernel has netem.
"""

import random
import select
import socket
import sys
import time
from collections import deque

FRAME_BYTES_MAX = 70_000
"""What leaves a virtual link is cut into packets later, if at all: up to 64 kB and the heads."""
FRAMES_MAX = 20_000
BUFFER_BYTES = 8_000_000
ETH_P_ALL = 3
SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 15, 23
"""linux/if_packet.h. With the first option a frame says what is yet to be done to it (checksum, cutting)."""
SO_RCVBUFFORCE = 33


class Line:
    """Carries frames between two links. `lost`: how many it was told to lose, or had no room for."""

    def __init__(self, left: socket.socket, right: socket.socket, seed: int = 1) -> None:
        self._ends = {left: right, right: left}
        self._left = left
        self._latency_s = 0.0
        self._loss: dict[socket.socket, float] = {left: 0.0, right: 0.0}
        self._under_way: deque[tuple[float, socket.socket, bytes]] = deque()
        self._random = random.Random(seed)
        self.lost = 0

    @property
    def ends(self) -> list[socket.socket]:
        """Both ends."""
        return list(self._ends)

    def change(self, latency_s: float, loss_out: float, loss_back: float) -> None:
        """Be such a line from now on."""
        self._latency_s = latency_s
        self._loss = {end: loss_out if end is self._left else loss_back for end in self._ends}

    def take(self, end: socket.socket, now_s: float) -> None:
        """Take a frame in at one end."""
        try:
            frame = end.recv(FRAME_BYTES_MAX)
        except OSError:  # the link is down: there is nothing to take
            return
        if len(self._under_way) >= FRAMES_MAX or self._random.random() < self._loss[end]:
            self.lost += 1
            return
        due_s = now_s + self._latency_s
        if self._under_way:  # nothing overtakes on a line
            due_s = max(due_s, self._under_way[-1][0])
        self._under_way.append((due_s, self._ends[end], frame))

    def deliver(self, now_s: float) -> float | None:
        """Give out what is due; return the seconds to the next frame, None when none is under way."""
        while self._under_way and self._under_way[0][0] <= now_s:
            _, end, frame = self._under_way.popleft()
            try:
                end.send(frame)
            except OSError:  # the link is down, or full: as on any line, nobody is told
                self.lost += 1
        return max(0.0, self._under_way[0][0] - now_s) if self._under_way else None


def open_link(name: str) -> socket.socket:
    """Return a socket that hears and says whole frames on a link."""
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    link.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    link.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    link.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
    link.bind((name, 0))
    link.setblocking(False)
    return link


def main() -> None:
    """`LEFT RIGHT`: carry frames until the input ends."""
    line = Line(open_link(sys.argv[1]), open_link(sys.argv[2]))
    print("ready", flush=True)
    wait_s = None
    while True:
        ready, _, _ = select.select([*line.ends, sys.stdin], [], [], wait_s)
        for one in ready:
            if one is not sys.stdin:
                line.take(one, time.monotonic())
            elif words := sys.stdin.readline().split():
                line.change(*map(float, words))
                print("changed", flush=True)
            else:
                return
        wait_s = line.deliver(time.monotonic())


if __name__ == "__main__":
    main()
