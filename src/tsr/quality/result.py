"""What is known of a judge's quality."""

from dataclasses import dataclass

from tsr.quality.bootstrap import Estimate
from tsr.quality.calibration import Bin
from tsr.quality.comparisons import OrderEffect


@dataclass(frozen=True)
class Group:
    """The questions of one file or subset. pairs: of differing rank; judged: of those."""

    name: str
    questions: int
    pairs: int
    judged: int
    accuracy: Estimate | None


@dataclass(frozen=True)
class Quality:
    """Figures of one judge; shares are 0 to 1, and None is missing: never zero, never NaN.

    answers, low, high, histogram: all answers, the scale of their scores, and how many valid
    scores fall in each tenth of it.
    pairs: two answers of one question that differ in rank. judged: those with a valid score of
    both, or a valid verdict in every order that was asked; all figures on pairs are over these.
    accuracy: share of judged pairs whose better answer scored higher; a tie counts one half.
    accuracy_untied: the same without the ties. tie_rate: ties among the judged pairs.
    parse_rate: valid among the judgements: answers' scores, or the verdicts of a pairwise judge.
    spearman, kendall: mean over the `correlated` questions in which it can be said; never pooled
    over questions, since ranks of unlike prompts do not compare.
    mean_better, mean_worse: mean score in judged pairs, on [low, high]; win shares (0 to 1) for
    a pairwise judge.
    bins, calibration_error: see tsr.quality.calibration.
    order: None for a judge that scores answers one at a time; see `order_note`.
    """

    pairwise: bool
    questions: int
    answers: int
    low: float
    high: float
    pairs: int
    judged: int
    accuracy: Estimate | None
    accuracy_untied: Estimate | None
    tie_rate: Estimate | None
    parse_rate: Estimate | None
    spearman: Estimate | None
    kendall: Estimate | None
    correlated: int
    mean_better: float | None
    mean_worse: float | None
    order: OrderEffect | None
    bins: tuple[Bin, ...]
    calibration_error: float | None
    histogram: tuple[int, ...]
    groups: tuple[Group, ...]
    resamples: int
    seed: int

    @property
    def coverage(self) -> float | None:
        """Judged pairs among all pairs."""
        return self.judged / self.pairs if self.pairs else None

    @property
    def order_note(self) -> str | None:
        """Why there is no order effect."""
        return None if self.pairwise else "scores answers one at a time: there is no order"
