"""What the custody runs came to last, kept between runs, so that each target renews its part of the page."""

from pathlib import Path

import msgspec

from tests.custody.schedule import Outcome
from tests.custody.side_by_side import Comparison

FILE = Path(__file__).with_suffix(".json")
ORDER = ("directed", "random", "self-proof")


class Figures(msgspec.Struct):
    """By the name of the run, the outcomes in the page's order; and the comparison."""

    runs: dict[str, Outcome] = {}
    beside: Comparison | None = None

    def renew(self, later: "Figures") -> "Figures":
        """Return these with what was measured `later` in its place."""
        runs = self.runs | later.runs
        names = sorted(runs, key=lambda name: (_place(name), name))
        return Figures({name: runs[name] for name in names}, later.beside or self.beside)


def _place(name: str) -> int:
    return next((place for place, word in enumerate(ORDER) if name.startswith(word)), len(ORDER))


def load(file: Path = FILE) -> Figures:
    """Return what was kept; nothing when there is no such file."""
    return msgspec.json.decode(file.read_bytes(), type=Figures) if file.exists() else Figures()


def save(figures: Figures, file: Path = FILE) -> None:
    """Keep them, a line each, for whoever reads the changes."""
    file.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=1) + b"\n")
