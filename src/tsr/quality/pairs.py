"""Pairs of answers of which people prefer one, with what a judge says of the two."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tsr.quality.comparisons import Orders, PairKey, credit_of, key_of, share, valid
from tsr.quality.labelled import Question

DIGITS: Final = 9
Scores = Mapping[tuple[str, int], float | None]


@dataclass(frozen=True)
class Pair:
    """better, worse: scores in parts of the scale, 0 to 1; both None where the pair is not judged.

    question: the position of its question.
    """

    question: int
    better: float | None
    worse: float | None

    @property
    def margin(self) -> float | None:
        """How much higher the better answer scored, -1 to 1; 0 is a tie."""
        if self.better is None or self.worse is None:
            return None
        return round(self.better - self.worse, DIGITS)

    @property
    def credit(self) -> float | None:
        """What the pair counts for the accuracy: 1, one half for a tie, 0."""
        return None if self.margin is None else credit_of(self.margin)


def part_of(score: float | None, low: float, high: float) -> float | None:
    """A score in parts of the scale, rounded so that equal means of unlike order are equal."""
    if score is None or not valid(score, low, high):
        return None
    return round((score - low) / (high - low), DIGITS)


def scored_pairs(questions: Sequence[Question], parts: Scores) -> list[Pair]:
    """From scores of answers: judged where both answers have one."""
    pairs = []
    for n, question in enumerate(questions):
        for better, worse in question.ordered:
            high, low = parts.get((question.id, better)), parts.get((question.id, worse))
            judged = high is not None and low is not None
            pairs.append(Pair(n, high, low) if judged else Pair(n, None, None))
    return pairs


def compared_pairs(questions: Sequence[Question], settled: Mapping[PairKey, Orders]) -> list[Pair]:
    """From verdicts on pairs: the better answer's score is its share p, the other's is 1 - p."""
    pairs = []
    for n, question in enumerate(questions):
        for better, worse in question.ordered:
            won = share(settled.get(key_of(question.id, better, worse), {}))
            if won is not None:
                won = round(won if better < worse else 1 - won, DIGITS)
            pairs.append(Pair(n, won, None if won is None else 1 - won))
    return pairs
