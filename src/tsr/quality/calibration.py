"""How often the higher score is right, as a function of how much higher it is."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

MOST_BINS: Final = 10
PAIRS_A_BIN: Final = 20


@dataclass(frozen=True)
class Bin:
    """Decided pairs of similar margin.

    n: pairs. margin: mean difference of their scores, in parts of the scale (0 to 1).
    accuracy: share of them in which the answer that scored higher is the better one.
    """

    n: int
    margin: float
    accuracy: float

    @property
    def expected(self) -> float:
        """The chance that the margin would stand for: even at 0, certain at the whole scale.

        For a pairwise judge this is the share of its verdicts that the winner got. For a judge
        that scores it is a convention: two judges can be compared by it, no single one blamed.
        """
        return 0.5 + 0.5 * self.margin


def reliability(margins: Iterable[float], bins: int | None = None) -> tuple[Bin, ...]:
    """Bins by quantile of the margin's size, smallest first; equal margins are never parted.

    margins: score of the better answer less that of the worse, in parts of the scale. Ties are
    left out: they are right half the time by rule. bins: by default one per 20 pairs, 1 to 10.
    """
    decided = [margin for margin in margins if margin]
    count = bins or min(MOST_BINS, max(1, len(decided) // PAIRS_A_BIN))
    sizes = sorted(abs(margin) for margin in decided)
    parts: dict[int, list[float]] = defaultdict(list)
    for margin in decided:
        middle = (bisect_left(sizes, abs(margin)) + bisect_right(sizes, abs(margin))) / 2
        parts[int(count * middle / len(sizes))].append(margin)
    return tuple(_bin(parts[part]) for part in sorted(parts))


def calibration_error(bins: Sequence[Bin]) -> float | None:
    """Expected calibration error: mean of |accuracy - expected| over decided pairs."""
    pairs = sum(b.n for b in bins)
    return sum(b.n * abs(b.accuracy - b.expected) for b in bins) / pairs if pairs else None


def _bin(margins: Sequence[float]) -> Bin:
    right = fmean(float(margin > 0) for margin in margins)
    return Bin(len(margins), fmean(abs(margin) for margin in margins), right)
