"""Plants served by the console for as long as a fixture lasts."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.console_rig import PlantRig, seed_plant

WEAR_S = 120


@contextmanager
def serve_plant(folder: Path, *, seconds: int = 0) -> Iterator[PlantRig]:
    """Serve a plant while the block runs: an empty one, or four machines with `seconds` of past, one worn."""
    rig = PlantRig(folder)
    if seconds:
        seed_plant(rig, seconds=seconds, wear_s=WEAR_S)
    rig.start()
    try:
        yield rig
    finally:
        rig.stop()
