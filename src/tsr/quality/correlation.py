"""Rank correlations between people's ranks and a judge's scores, a question at a time."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from tsr.quality.labelled import Question
from tsr.quality.pairs import Scores


class Correlation(NamedTuple):
    """1: the judge orders the answers as people do; -1: the other way round. NaN: cannot be said.

    With two answers both are 1 or -1, and tell no more than the accuracy does.
    """

    spearman: float
    kendall: float


NONE = Correlation(math.nan, math.nan)


def correlation(question: Question, parts: Scores) -> Correlation:
    """Spearman and Kendall's tau-b over the answers that have a score.

    NaN where fewer than two have one, or where their ranks or their scores are all the same.
    """
    scored = [(a.rank, parts.get((question.id, n))) for n, a in enumerate(question.answers)]
    found = [(-rank, score) for rank, score in scored if score is not None]
    goodness, scores = [good for good, _ in found], [score for _, score in found]
    if len(set(goodness)) < 2 or len(set(scores)) < 2:
        return NONE
    return _correlated(goodness, scores)


def _correlated(goodness: Sequence[float], scores: Sequence[float]) -> Correlation:
    from scipy.stats import kendalltau, spearmanr

    found = (spearmanr(goodness, scores).statistic, kendalltau(goodness, scores).statistic)
    return Correlation(*(round(float(value), 12) for value in found))
