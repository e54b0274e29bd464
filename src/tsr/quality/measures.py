"""How good a judge is: its scores or verdicts beside the ranks that people gave."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

import numpy as np

from tsr.histogram import histogram
from tsr.quality.bootstrap import Array, Estimate, Ratio, estimates
from tsr.quality.calibration import calibration_error, reliability
from tsr.quality.comparisons import (
    Comparison,
    Orders,
    PairKey,
    order_effect,
    settle,
    valid,
    win_shares,
)
from tsr.quality.correlation import correlation
from tsr.quality.labelled import Question
from tsr.quality.pairs import Pair, Scores, compared_pairs, part_of, scored_pairs
from tsr.quality.result import Group, Quality


def measure(
    questions: Sequence[Question],
    scores: Scores | None = None,
    comparisons: Iterable[Comparison] | None = None,
    *,
    low: float = 0.0,
    high: float = 1.0,
    resamples: int = 2000,
    seed: int = 0,
) -> Quality:
    """The quality of a judge; see Quality, and `estimates` for the intervals.

    scores: by question id and position of the answer. None, an answer that is not in it, or a
    score outside [low, high] is missing.
    comparisons: makes the judge a pairwise one; figures on pairs then come from these. Without
    `scores`, each answer's is its share of wins, from 0 to 1.
    Raises ValueError for what belongs to no question, ids that come twice, or an empty scale.
    """
    settled = None
    if comparisons is not None:
        comparisons = [Comparison(*comparison) for comparison in comparisons]
        settled = settle(comparisons)
        if not scores:
            scores, low, high = win_shares(settled), 0.0, 1.0
    _check(questions, scores or {}, settled or {}, (low, high))
    parts = {key: part_of(score, low, high) for key, score in (scores or {}).items()}
    if settled is None or comparisons is None:
        pairs, asked = scored_pairs(questions, parts), _scored(questions, parts)
    else:
        pairs, asked = compared_pairs(questions, settled), _compared(questions, comparisons)
    return _quality(questions, parts, pairs, asked, settled, (low, high), resamples, seed)


def _quality(
    questions: Sequence[Question],
    parts: Scores,
    pairs: Sequence[Pair],
    asked: Ratio,
    settled: Mapping[PairKey, Orders] | None,
    scale: tuple[float, float],
    resamples: int,
    seed: int,
) -> Quality:
    ratios = {"parse_rate": asked, **_pair_ratios(len(questions), pairs)}
    ratios |= _correlations(questions, parts)
    figures = estimates(ratios | _by_group(questions, ratios["accuracy"]), resamples, seed)
    bins = reliability(pair.margin for pair in pairs if pair.margin is not None)
    better, worse = _means(pairs, (0.0, 1.0) if settled is not None else scale)
    return Quality(
        pairwise=settled is not None,
        questions=len(questions),
        answers=sum(len(question.answers) for question in questions),
        low=scale[0],
        high=scale[1],
        pairs=len(pairs),
        judged=int(ratios["accuracy"].bottom.sum()),
        correlated=int(ratios["spearman"].bottom.sum()),
        mean_better=better,
        mean_worse=worse,
        order=None if settled is None else order_effect(questions, settled),
        bins=bins,
        calibration_error=calibration_error(bins),
        histogram=tuple(histogram([part for part in parts.values() if part is not None], 0, 1)),
        groups=_groups(questions, pairs, figures),
        resamples=resamples,
        seed=seed,
        **{name: figures[name] for name in ratios},
    )


def _check(
    questions: Sequence[Question],
    scores: Scores,
    settled: Mapping[PairKey, Orders],
    scale: tuple[float, float],
) -> None:
    answers = {q.id: len(q.answers) for q in questions}
    if not questions or len(answers) < len(questions):
        raise ValueError("needs questions, each with an id of its own")
    if not -math.inf < scale[0] < scale[1] < math.inf:
        raise ValueError(f"the scale must run from a lower to a higher number, not {scale}")
    named = [*scores, *((q, n) for q, *pair in settled for n in pair)]
    for question, n in named:
        if not 0 <= n < answers.get(question, 0):
            raise ValueError(f"there is no answer {n} of a question {question}")


def _scored(questions: Sequence[Question], parts: Scores) -> Ratio:
    """Valid scores and answers, by question."""
    found = [
        sum(parts.get((q.id, n)) is not None for n in range(len(q.answers))) for q in questions
    ]
    return Ratio(np.array(found), np.array([len(q.answers) for q in questions]))


def _compared(questions: Sequence[Question], comparisons: Iterable[Comparison]) -> Ratio:
    """Valid verdicts and all that were asked for, by question."""
    place = {question.id: n for n, question in enumerate(questions)}
    found, asked = np.zeros(len(questions)), np.zeros(len(questions))
    for comparison in comparisons:
        asked[place[comparison.question]] += 1
        found[place[comparison.question]] += valid(comparison.score)
    return Ratio(found, asked)


def _pair_ratios(questions: int, pairs: Iterable[Pair]) -> dict[str, Ratio]:
    credit, judged, tied = np.zeros((3, questions))
    for pair in pairs:
        if pair.credit is not None:
            credit[pair.question] += pair.credit
            judged[pair.question] += 1
            tied[pair.question] += pair.margin == 0
    return {
        "accuracy": Ratio(credit, judged),
        "accuracy_untied": Ratio(credit - tied / 2, judged - tied),
        "tie_rate": Ratio(tied, judged),
    }


def _correlations(questions: Sequence[Question], parts: Scores) -> dict[str, Ratio]:
    found = np.array([correlation(question, parts) for question in questions])
    said = np.isfinite(found)
    filled = np.where(said, found, 0.0)
    names = ("spearman", "kendall")
    return {name: Ratio(filled[:, n], said[:, n]) for n, name in enumerate(names)}


def _by_group(questions: Sequence[Question], accuracy: Ratio) -> dict[str, Ratio]:
    names = np.array([question.group for question in questions])

    def inside(group: str, values: Array) -> Array:
        return np.where(names == group, values, 0.0)

    groups = dict.fromkeys(question.group for question in questions)
    return {
        _figure(group): Ratio(inside(group, accuracy.top), inside(group, accuracy.bottom))
        for group in groups
    }


def _groups(
    questions: Sequence[Question], pairs: Sequence[Pair], figures: Mapping[str, Estimate | None]
) -> tuple[Group, ...]:
    sizes = Counter(question.group for question in questions)
    of = [(questions[pair.question].group, pair.margin is not None) for pair in pairs]
    asked, judged = Counter(group for group, _ in of), Counter(group for group, done in of if done)
    return tuple(
        Group(name, size, asked[name], judged[name], figures[_figure(name)])
        for name, size in sizes.items()
    )


def _figure(group: str) -> str:
    return f"accuracy in {group}"


def _means(pairs: Iterable[Pair], scale: tuple[float, float]) -> tuple[float | None, float | None]:
    judged = [(p.better, p.worse) for p in pairs if p.better is not None and p.worse is not None]
    if not judged:
        return None, None
    low, high = scale
    better, worse = (low + (high - low) * fmean(part) for part in zip(*judged, strict=True))
    return better, worse
