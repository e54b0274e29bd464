"""Verdicts of a pairwise judge: what they say together, and what the order of showing does."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from tsr.quality.labelled import Question

Order = Literal["first", "second"]
PairKey = tuple[str, int, int]
Orders = Mapping[Order, float | None]


class Comparison(NamedTuple):
    """One verdict on answers a and b (indices) of a question.

    order: where a was shown. score: 1 if a won, 0 if b did, 0.5 for a tie, anything between for
    a judge that gives a chance; None (or a number outside [0, 1]) where there is no verdict.
    """

    question: str
    a: int
    b: int
    order: Order
    score: float | None


@dataclass(frozen=True)
class OrderEffect:
    """What the order of showing does to a pairwise judge. Shares; None where nothing was asked.

    accuracy_a_first, accuracy_a_second: over pairs of differing rank; a is the answer of the
    lower index. Each is what the judge would reach if it were asked in that order only.
    accuracy_better_first, accuracy_better_second: the same verdicts by where the better answer
    was. Apart from chance, they differ by the judge's liking for a place.
    consistency: pairs, of any ranks, whose winner (or tie) is the same in both orders.
    both: how many pairs have a valid verdict in both orders.
    """

    accuracy_a_first: float | None
    accuracy_a_second: float | None
    accuracy_better_first: float | None
    accuracy_better_second: float | None
    consistency: float | None
    both: int


def key_of(question: str, a: int, b: int) -> PairKey:
    """Where verdicts on two answers are found, whichever comes first."""
    return question, min(a, b), max(a, b)


def settle(comparisons: Iterable[Comparison]) -> dict[PairKey, Orders]:
    """For each two answers a < b and each order that was asked: the mean score of a, or None.

    Raises ValueError for an order that is neither "first" nor "second", or a = b.
    """
    asked: dict[PairKey, dict[Order, list[float | None]]] = defaultdict(lambda: defaultdict(list))
    for comparison in comparisons:
        question, a, b, order, score = _sorted(comparison)
        asked[question, a, b][order].append(score if valid(score) else None)
    return {key: {o: _mean(scores) for o, scores in by.items()} for key, by in asked.items()}


def share(orders: Orders) -> float | None:
    """The score of a over both orders, each counting alike.

    None unless every order that was asked has a valid verdict: one order alone would let the
    judge's liking for a place speak for the pair.
    """
    found = [score for score in orders.values() if score is not None]
    return statistics.fmean(found) if found and len(found) == len(orders) else None


def win_shares(settled: Mapping[PairKey, Orders]) -> dict[tuple[str, int], float | None]:
    """Score of each compared answer: its mean share over its rivals; None where none is valid."""
    shares: dict[tuple[str, int], list[float | None]] = defaultdict(list)
    for (question, a, b), orders in settled.items():
        won = share(orders)
        shares[question, a].append(won)
        shares[question, b].append(None if won is None else 1 - won)
    return {answer: _mean(found) for answer, found in shares.items()}


def order_effect(questions: Sequence[Question], settled: Mapping[PairKey, Orders]) -> OrderEffect:
    """See OrderEffect."""
    right: dict[str, list[float]] = defaultdict(list)
    for question in questions:
        for better, worse in question.ordered:
            swap = better > worse
            for order, score in settled.get(key_of(question.id, better, worse), {}).items():
                if score is not None:
                    credit = credit_of(1 - 2 * score if swap else 2 * score - 1)
                    right[f"a {order}"].append(credit)
                    right[f"better {_other(order) if swap else order}"].append(credit)
    consistency, both = _consistency(settled)
    return OrderEffect(
        accuracy_a_first=_mean(right["a first"]),
        accuracy_a_second=_mean(right["a second"]),
        accuracy_better_first=_mean(right["better first"]),
        accuracy_better_second=_mean(right["better second"]),
        consistency=consistency,
        both=both,
    )


def credit_of(margin: float) -> float:
    """1 if the better answer scored higher, 0 if lower, one half for a tie."""
    return 0.5 if margin == 0 else float(margin > 0)


def valid(score: float | None, low: float = 0.0, high: float = 1.0) -> bool:
    """Whether a score is there and on its scale; what is off the scale (or NaN) is missing."""
    return score is not None and low <= score <= high


def _consistency(settled: Mapping[PairKey, Orders]) -> tuple[float | None, int]:
    both = [
        credit_of(2 * first - 1) == credit_of(2 * second - 1)
        for first, second in ((o.get("first"), o.get("second")) for o in settled.values())
        if first is not None and second is not None
    ]
    return _mean([float(same) for same in both]), len(both)


def _sorted(comparison: Comparison) -> Comparison:
    question, a, b, order, score = comparison
    if order not in get_args(Order) or a == b:
        raise ValueError(f"{tuple(comparison)}: needs two answers and an order, first or second")
    if a < b:
        return Comparison(*comparison)
    return Comparison(question, b, a, _other(order), None if score is None else 1 - score)


def _other(order: Order) -> Order:
    return "second" if order == "first" else "first"


def _mean(scores: Sequence[float | None]) -> float | None:
    found = [score for score in scores if score is not None]
    return statistics.fmean(found) if found else None
