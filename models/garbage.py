"""Keeps Python's search for cyclic garbage out of the way of the values; at the edge and in the cloud."""

import gc

YOUNG_MAX = 50_000
MIDDLE_MAX = 20
OLD_MAX = 100
"""After so many new containers the young are searched; after so many searches of one age, those older."""


def spare_values() -> None:
    """Have Python search for cyclic garbage rarely; for a whole program, once it has imported its parts.

    Until the next flush, or the next write, each column waits in a list of its own. By default Python
    searches all of them again whenever 700 more have come, though none can be part of a cycle: a third of
    what a gateway computes at 400,000 values/s. And now and then it searches everything: that held the
    ingester up for 35 to 150 ms, on a busy computer for half a second. Everything but cycles is freed at
    once as ever.
    """
    gc.freeze()
    gc.set_threshold(YOUNG_MAX, MIDDLE_MAX, OLD_MAX)
