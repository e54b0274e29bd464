"""Counting values into equal bins of a scale, and showing the counts in a line of text."""

import math
from collections.abc import Sequence


def histogram(scores: Sequence[float], low: float, high: float, bins: int = 10) -> list[int]:
    """How many scores fall in each of `bins` equal parts of the scale; the last holds `high`."""
    counts = [0] * bins
    for score in scores:
        counts[min(bins - 1, int((score - low) / (high - low) * bins))] += 1
    return counts


def bars(counts: Sequence[int]) -> str:
    """A bar for each count, the highest for the greatest; empty where there is nothing to show."""
    if not any(counts):
        return ""
    return "".join(" ▁▂▃▄▅▆▇█"[math.ceil(8 * n / max(counts))] for n in counts)
