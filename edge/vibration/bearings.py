"""At which frequencies a rolling bearing's faults strike, from its geometry. Pure.

Randall and Antoni, "Rolling element bearing diagnostics - a tutorial", Mechanical Systems and Signal
Processing 25 (2011), pages 485 to 520; the outer ring stands still, nothing slips.
"""

from math import cos, radians
from typing import Literal

import msgspec

LineName = Literal["bpfo", "bpfi", "bsf", "ftf"]


class Geometry(msgspec.Struct, frozen=True):
    """`balls` of `ball_mm` in diameter on a circle of `pitch_mm`; the load acts at `contact_angle_deg`."""

    balls: int
    ball_mm: float
    pitch_mm: float
    contact_angle_deg: float = 0.0


def count_per_turn(bearing: Geometry) -> dict[LineName, float]:
    """Return how often per turn of the shaft: with n balls, r = d/D cos(a),

    bpfo = n/2 (1 - r): a ball passes a spot of the outer ring;
    bpfi = n/2 (1 + r): a ball passes a spot of the inner ring;
    bsf = D/(2 d) (1 - r^2): a ball turns about itself, and a spot of it strikes twice;
    ftf = 1/2 (1 - r): the cage goes round.
    """
    ratio = bearing.ball_mm / bearing.pitch_mm * cos(radians(bearing.contact_angle_deg))
    return {
        "bpfo": bearing.balls / 2 * (1 - ratio),
        "bpfi": bearing.balls / 2 * (1 + ratio),
        "bsf": bearing.pitch_mm / (2 * bearing.ball_mm) * (1 - ratio * ratio),
        "ftf": (1 - ratio) / 2,
    }
