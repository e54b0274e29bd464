"""Draws that stay the same from one Python version to the next."""

import random
from collections.abc import Sequence
from typing import TypeVar

from tsr.seeds import seed_of

T = TypeVar("T")


class Dice:
    """Draws from a seed, by `random.random` only: the one method whose numbers Python promises."""

    def __init__(self, *seed: object) -> None:
        self._random = random.Random(seed_of(*seed))

    def below(self, n: int) -> int:
        """A whole number from 0 to n - 1."""
        return int(self._random.random() * n)

    def between(self, low: int, high: int) -> int:
        """A whole number from low to high."""
        return low + self.below(high - low + 1)

    def pick(self, options: Sequence[T]) -> T:
        """One of them."""
        return options[self.below(len(options))]

    def some(self, options: Sequence[T], n: int) -> tuple[T, ...]:
        """n different ones, in drawn order."""
        left = list(options)
        return tuple(left.pop(self.below(len(left))) for _ in range(n))
