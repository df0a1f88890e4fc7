"""Upkeep rests in proportion to its work, so that the ingester goes before it."""

import pytest

from cloud.ingest.upkeep import PIECE_PAUSE_S, PIECE_PAUSE_S_MAX, REST_SHARE, choose_rest_s


def test_a_long_piece_is_followed_by_a_long_rest() -> None:
    """A fifth of the time is work at most; there is a least rest, and nothing is put off for long."""
    assert choose_rest_s(0.03) == pytest.approx(REST_SHARE * 0.03)
    assert choose_rest_s(0.0001) == PIECE_PAUSE_S
    assert choose_rest_s(7.0) == PIECE_PAUSE_S_MAX
