"""What a value of an OPC UA subscription costs, and that none is missing: node-opcua's server."""

from pathlib import Path

import pytest

from tests.bench.opcua_followers import Report, follow
from tests.integration.opcua_peer_rig import NodeOpcua

SECONDS = 10.0
COUNT = 5_000
LINE = (
    "{name:<26} {us:6.2f} us/value, {values} values in {seconds:g} s, {missing} missing, RSS {rss_mb:.0f} MB"
)


def print_line(name: str, report: Report) -> None:
    """Print what one way of following costs."""
    print(LINE.format(name=name, seconds=SECONDS, **report))


@pytest.mark.bench
def test_five_thousand_tags_a_second(tmp_path: Path) -> None:
    """5,000 tags at 1 s: nothing missed; ours, asyncua's call per value, the decoder alone."""
    server = NodeOpcua(tmp_path, count=COUNT, period_ms=1_000)
    server.start()
    try:
        ours, asyncua, raw = (
            follow(way, server.url, COUNT, interval_s=1.0, publish_s=1.0, seconds=SECONDS)
            for way in ("ours", "asyncua", "raw")
        )
    finally:
        server.kill()
    print(f"\nOPC UA subscription, {COUNT} tags at 1 s from node-opcua; CPU of the client's whole process:")
    print_line("ours, bytes to frames", ours)
    print_line("asyncua, a call per value", asyncua)
    print_line("our decoder alone", raw)
    print(
        f"{asyncua['us'] / ours['us']:.1f} times less than asyncua's way, "
        f"{ours['us'] / raw['us']:.1f} times the decoder alone"
    )
    assert (ours["missing"], ours["gaps"], ours["tags"]) == (0, 0, COUNT)


@pytest.mark.bench
def test_ten_thousand_values_a_second(tmp_path: Path) -> None:
    """5,000 tags that change twice a second: every change arrives."""
    server = NodeOpcua(tmp_path, count=COUNT, period_ms=500)
    server.start()
    try:
        told = follow("ours", server.url, COUNT, interval_s=0.25, publish_s=0.5, seconds=SECONDS)
    finally:
        server.kill()
    print(f"\nOPC UA subscription, {COUNT} tags that change every 0.5 s, sampled at 0.25 s, told at 0.5 s:")
    print_line(f"ours, {told['values'] / SECONDS:.0f} values/s", told)
    assert (told["missing"], told["gaps"], told["tags"]) == (0, 0, COUNT)
