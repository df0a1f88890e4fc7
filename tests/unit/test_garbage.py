"""Cyclic garbage is looked for rarely, and found all the same."""

import subprocess
import sys
from textwrap import dedent

from models.garbage import YOUNG_MAX

PROGRAM = dedent("""
    import gc, weakref
    from models.garbage import spare_values

    class Knot:
        pass

    spare_values()
    searches = []
    gc.callbacks.append(lambda phase, found: searches.append(phase) if phase == "start" else None)
    knot = Knot()
    knot.itself = knot
    gone = weakref.ref(knot)
    del knot
    waiting = [[float(number)] for number in range(YOUNG_MAX // 2)]
    print(len(searches), gone() is None)
    waiting += [[float(number)] for number in range(YOUNG_MAX)]
    print(len(searches), gone() is None)
""")


def test_cyclic_garbage_goes_after_so_many_containers() -> None:
    """Values that wait do not set the search off before its time; a cycle is freed once it comes."""
    program = PROGRAM.replace("YOUNG_MAX", str(YOUNG_MAX))
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines() == ["0 False", "1 True"]
