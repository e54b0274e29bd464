"""Percentile intervals by resampling questions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
CELLS: Final = 4_000_000  # of a block of weights: 32 MB


@dataclass(frozen=True)
class Ratio:
    """A figure that is a ratio of sums over questions. top, bottom: shape (questions,)."""

    top: Array
    bottom: Array


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval, which is None where fewer than two questions speak."""

    value: float
    low: float | None
    high: float | None


def estimates(
    ratios: Mapping[str, Ratio], resamples: int = 2000, seed: int = 0
) -> dict[str, Estimate | None]:
    """Each figure over all questions, with the interval of `resamples` draws of as many.

    Answers to one prompt are alike, so that questions are drawn, each with all its pairs; all
    figures come from the same draws. A draw in which a figure has no say is left out of its
    interval, and a figure that is the same in every question has one without width: that is a
    limit of the method, not certainty. None where no question says anything about a figure.
    """
    top = np.stack([r.top for r in ratios.values()], axis=1).astype(float)
    bottom = np.stack([r.bottom for r in ratios.values()], axis=1).astype(float)
    blocks = [_divided(w @ top, w @ bottom) for w in _weights(len(top), resamples, seed)]
    drawn = np.concatenate(blocks)
    whole = _divided(top.sum(axis=0), bottom.sum(axis=0))
    speak = (bottom > 0).sum(axis=0)
    return {
        name: _estimate(float(whole[n]), drawn[:, n], int(speak[n]))
        for n, name in enumerate(ratios)
    }


def _weights(questions: int, resamples: int, seed: int) -> Iterator[Array]:
    """How often each question is drawn: blocks of shape (resamples of the block, questions)."""
    rng, block = np.random.default_rng(seed), max(1, CELLS // questions)
    for begin in range(0, resamples, block):
        size = min(block, resamples - begin)
        counts = rng.multinomial(questions, np.full(questions, 1 / questions), size=size)
        yield counts.astype(float)


def _divided(top: Array, bottom: Array) -> Array:
    out: Array = np.full(top.shape, np.nan)
    np.divide(top, bottom, out=out, where=bottom > 0)
    return out


def _estimate(value: float, drawn: Array, speak: int) -> Estimate | None:
    found = drawn[np.isfinite(drawn)]
    if speak == 0:
        return None
    if speak < 2 or not len(found):
        return Estimate(value, None, None)
    low, high = np.percentile(found, [2.5, 97.5])
    return Estimate(value, float(low), float(high))
