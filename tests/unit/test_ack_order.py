"""Acknowledgements leave in the order in which the messages came, whatever the order they are settled in."""

from hypothesis import given
from hypothesis import strategies as st

from models.link.acks import AckOrder


@given(st.permutations(list(range(1, 9))))
def test_the_order_of_arrival_is_kept(settled: list[int]) -> None:
    """Nothing is acknowledged before what came earlier, nothing is forgotten, nothing comes twice."""
    order = AckOrder()
    for mid in range(1, 9):
        order.arrive(mid)
    acknowledged: list[int] = []
    for count, mid in enumerate(settled, 1):
        acknowledged += order.settle(mid)
        done = set(settled[:count])
        assert acknowledged == list(range(1, len(acknowledged) + 1))
        assert len(acknowledged) + 1 not in done
    assert acknowledged == list(range(1, 9))


def test_a_new_connection_owes_nothing() -> None:
    """Message ids of an old connection mean other messages now."""
    order = AckOrder()
    order.arrive(1)
    order.arrive(2)
    order.clear()
    assert order.settle(2) == []
    order.arrive(2)
    assert order.settle(2) == [2]
