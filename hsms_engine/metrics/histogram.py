"""A histogram with fixed bounds, counted in one thread and read in others."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence


class Histogram:
    """How often values were up to each of ``bounds``, which rise."""

    __slots__ = ("_bounds", "_counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        # Of values up to each bound and above the one before it; the last one: above all.
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count ``value``. Only in the thread that counts."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def cumulated(self) -> Iterator[tuple[float, int]]:
        """Each bound, the last one infinite, and how many values are at most that."""
        count = 0
        # A copy, so that what is counted meanwhile is in none of them.
        for bound, more in zip((*self._bounds, math.inf), list(self._counts), strict=True):
            count += more
            yield bound, count
