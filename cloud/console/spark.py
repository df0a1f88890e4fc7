"""A machine's recent scores as the path of a small SVG, drawn on the server."""

from collections.abc import Sequence

WIDTH, HEIGHT = 120.0, 32.0
LOAD_SHOWN_MAX = 2.0
"""Every picture reaches from nothing to twice the limit, so that machines can be compared at a glance."""


def draw_spark(loads: Sequence[float | None], slots: int) -> str:
    """Return the `d` of a path through score/limit ratios, the newest at the right edge; "" without any.

    `slots` is how many ratios the full width shows; a None breaks the line.
    """
    shown = list(loads[-slots:])
    step = WIDTH / max(1, slots - 1)
    start = WIDTH - step * (len(shown) - 1)
    parts: list[str] = []
    pen_down = False
    for index, load in enumerate(shown):
        if load is None:
            pen_down = False
            continue
        height = HEIGHT * (1.0 - min(max(load, 0.0), LOAD_SHOWN_MAX) / LOAD_SHOWN_MAX)
        parts.append(f"{'L' if pen_down else 'M'}{start + index * step:.1f} {height:.1f}")
        pen_down = True
    return "".join(parts)
