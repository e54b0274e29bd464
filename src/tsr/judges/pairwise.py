"""LLM-as-a-judge on two responses at a time; the score is the share of comparisons won.

Protocol after MT-Bench (Zheng et al., arXiv 2306.05685): verdicts `[[A]]`, `[[B]]`, `[[C]]`, each
pair in both orders, because judges prefer what they read first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Self

from tsr.config import JudgeConfig
from tsr.engines.base import Answer, Request
from tsr.judges.base import Case, Question, Verdict
from tsr.judges.expected import mean, told, weights_of
from tsr.judges.generative import GenerativeJudge
from tsr.judges.options import count
from tsr.judges.parse_pairwise import parse_pairwise

ORDERS: Final = ("first", "second")
_SHARES: Final = {"A": 1.0, "B": 0.0, "C": 0.5}


@dataclass(frozen=True)
class Pairwise(GenerativeJudge):
    """1 for a win, 0 for a loss, 0.5 for a tie: the mean over a candidate's rows is its win rate.

    opponents: only the first so many rivals are asked about; None: all.
    """

    compares: ClassVar[bool] = True
    prompt_name: ClassVar[str] = "pairwise.txt"
    placeholders: ClassVar[tuple[str, ...]] = ("{prompt}", "{response_a}", "{response_b}")
    opening: ClassVar[str] = "Verdict: [["

    opponents: int | None = None

    @classmethod
    def of(cls, settings: JudgeConfig, **options: Any) -> Self:
        """See GenerativeJudge.of; the scale is a share, whatever the settings say."""
        judge = super().of(replace(settings, low=0.0, high=1.0), **options)
        count("opponents", judge.opponents)
        return judge

    def questions(self, case: Case, rivals: Sequence[Case]) -> list[Question]:
        """Each rival in both orders; nothing is asked about a rival with the very same text."""
        others = [rival for rival in rivals if rival.id != case.id][: self.opponents]
        return [
            Question(self._requests(case, rival, order), (("against", rival.id), ("order", order)))
            for rival in others
            for order in ORDERS
        ]

    def verdict(self, case: Case, question: Question, answers: Sequence[Answer]) -> Verdict:
        """The case's share of the win; without answers, the texts were the same: a tie."""
        if not answers:
            return Verdict(0.5, "identical")
        verdict = self.read(case, answers[0])
        if verdict.score is None or dict(question.about)["order"] == "first":
            return verdict
        return replace(verdict, score=1 - verdict.score)

    def read(self, case: Case, answer: Answer | None) -> Verdict:
        """How much of the win goes to response A, whoever wrote it."""
        if answer is None or answer.finish == "too_long":
            return Verdict(None, reason="too_long")
        if self.scoring == "text":
            score = parse_pairwise(answer.text)
            return Verdict(score, answer.text, None if score is not None else "unparsed")
        weights = weights_of(answer.options)
        score = mean(weights, _SHARES)
        if score is None:
            return Verdict(None, reason="no_option")
        return Verdict(score, told(weights, _SHARES))

    def asked(self, rivals: int) -> int:
        """Both orders of each rival, n times."""
        return 2 * self.n * (rivals if self.opponents is None else min(rivals, self.opponents))

    def _requests(self, case: Case, rival: Case, order: str) -> tuple[Request, ...]:
        if case.answer == rival.answer:
            return ()
        a, b = (case, rival) if order == "first" else (rival, case)
        texts = {"{prompt}": case.prompt, "{response_a}": a.answer, "{response_b}": b.answer}
        if self.scoring == "text":
            return (self.sampled(case.id, texts),)
        return (self.weighed(case.id, texts, self.opening, tuple(_SHARES)),)
