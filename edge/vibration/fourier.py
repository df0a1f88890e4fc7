"""The discrete Fourier transform in pure Python, for computers without numpy.

Every step is one `map` of a C function over a whole list: a transform of 4,096 real numbers takes about a
millisecond on a PC. Lengths are products of 2, 3 and 5.
"""

from cmath import exp, pi
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import repeat
from operator import add, itemgetter, mul, sub

PLANS_MAX = 16
"""So many lengths keep their tables: 0.3 MB for 4,096 samples, in proportion for more."""

ODD_FACTORS = (5, 3)


def is_smooth(length: int) -> bool:
    """Return whether the length is a product of 2, 3 and 5 only."""
    for factor in (2, 3, 5):
        while length > 1 and length % factor == 0:
            length //= factor
    return length == 1


def transform(signal: Sequence[complex]) -> list[complex]:
    """Return X[k] = sum over i of x[i] exp(-2 pi i k i/n), not normalised.

    Odd factors are split off first (Cooley and Tukey 1965, decimation in time); what is left is a power of 2.
    """
    n = len(signal)
    for factor in ODD_FACTORS:
        if n % factor == 0:
            return _join([transform(signal[start::factor]) for start in range(factor)])
    return _transform_binary(signal)


def transform_real(signal: Sequence[float]) -> list[complex]:
    """Return X[0] to X[n/2] of a real signal of even length, by one transform of half its length.

    Even and odd samples go in as real and imaginary parts, and are parted by symmetry after it (Cooley, Lewis
    and Welch 1970).
    """
    half = len(signal) // 2
    packed = transform(list(map(complex, signal[::2], signal[1::2])))
    packed.append(packed[0])
    mirrored = [number.conjugate() for number in reversed(packed)]
    even = map(add, packed, mirrored)
    odd = map(mul, map(sub, packed, mirrored), _list_turns(half))
    return [0.5 * number for number in map(add, even, odd)]


@lru_cache(PLANS_MAX)
def _list_turns(half: int) -> tuple[complex, ...]:
    """Return -i exp(-pi i k / half) for k = 0 to half."""
    return tuple(-1j * exp(-1j * pi * k / half) for k in range(half + 1))


def _transform_binary(signal: Sequence[complex]) -> list[complex]:
    """Return the transform of a power of 2 of samples, radix 2, iterative.

    Of constant geometry (Pease 1968): every stage takes neighbours and writes halves, so that none needs an
    index, and a stage is three maps.
    """
    n = len(signal)
    if n == 1:
        return list(signal)
    order, stages = _plan_binary(n)
    column = list(order(signal)) if order is not None else list(signal)
    for turns in stages:
        first, second = column[::2], column[1::2]
        if turns is not None:
            second = list(map(mul, second, turns))
        column = [*map(add, first, second), *map(sub, first, second)]
    return column


@lru_cache(PLANS_MAX)
def _plan_binary(
    n: int,
) -> tuple[Callable[[Sequence[complex]], Iterable[complex]] | None, tuple[tuple[complex, ...] | None, ...]]:
    """Return the order in which samples go in (reversed bits), and the factors of each stage."""
    bits = n.bit_length() - 1
    turns = [exp(-2j * pi * k / n) for k in range(n // 2)]
    stages: list[tuple[complex, ...] | None] = [None]  # the first one's are all 1
    for stage in range(2, bits + 1):
        low = bits - stage
        stages.append(tuple([turns[at >> low << low] for at in range(n // 2)]))
    if n < 4:
        return None, tuple(stages)
    order: Callable[[Sequence[complex]], Iterable[complex]] = itemgetter(
        *[int(f"{at:0{bits}b}"[::-1], 2) for at in range(n)]
    )
    return order, tuple(stages)


def _join(parts: Sequence[list[complex]]) -> list[complex]:
    """Return the transform of a signal from those of every r-th sample, begun at 0, 1, ... r - 1."""
    count, length = len(parts), len(parts[0])
    turned = [
        list(map(mul, part, turns)) if turns else part
        for part, turns in zip(parts, _plan_join(count, length), strict=True)
    ]
    joined: list[complex] = []
    for block in range(count):
        column = turned[0]
        for at in range(1, count):
            root = exp(-2j * pi * ((at * block) % count) / count)
            column = list(map(add, column, map(mul, turned[at], repeat(root))))
        joined += column
    return joined


@lru_cache(PLANS_MAX)
def _plan_join(count: int, length: int) -> tuple[tuple[complex, ...], ...]:
    n = count * length
    return ((), *(tuple(exp(-2j * pi * at * k / n) for k in range(length)) for at in range(1, count)))
