"""Generative judges that rate one response with a number on a scale."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from tsr.config import JudgeConfig
from tsr.engines.base import Answer, Request
from tsr.judges.base import Case, Question, Verdict
from tsr.judges.expected import check_scale, mean, told, weights_of, whole_numbers, with_ten
from tsr.judges.generative import GenerativeJudge
from tsr.judges.options import flag
from tsr.settings import setting


@dataclass(frozen=True)
class RatingJudge(GenerativeJudge):
    """A subclass says how its prompt wants the number to be written, and reads it off a text.

    opening: what stands right before the number; `expected` scoring begins the answer with it.
    split_digits: whether the judging model's tokenizer has a token a digit (Llama 2, Qwen,
        Mistral); false where 10 is one token (Llama 3). It matters to `expected` on a scale up to
        10 only, and what does not fit the tokenizer is refused by the engine.
    """

    opening: ClassVar[str]

    split_digits: bool = setting(True, "Whether 10 is two tokens.", reproduces=True)

    @classmethod
    def of(cls, settings: JudgeConfig, **options: Any) -> Self:
        """See GenerativeJudge.of; Refused if `expected` cannot weigh the scale's numbers."""
        judge = super().of(settings, **options)
        flag("split_digits", judge.split_digits)
        if judge.scoring == "expected":
            check_scale(judge.low, judge.high)
        return judge

    def parse(self, text: str) -> float | None:
        """The last valid number on the scale that the text gives; None when there is none."""
        raise NotImplementedError

    def request(self, case: Case) -> Request:
        """The judge's conversation about a case."""
        if self.scoring == "text":
            return self.sampled(case.id, _texts(case))
        return self.weighed(case.id, _texts(case), self.opening, self.options)

    def questions(self, case: Case, rivals: Sequence[Case]) -> list[Question]:
        """One question; where 10 is two tokens, `expected` asks for its second digit as well."""
        requests = [self.request(case)]
        if self.scoring == "expected" and self._second_digit:
            requests.append(self.weighed(case.id, _texts(case), self.opening + "1", ("0",)))
        return [Question(tuple(requests))]

    def verdict(self, case: Case, question: Question, answers: Sequence[Answer]) -> Verdict:
        """The number in the text (last valid match), or the expected number of the options."""
        if any(answer.finish == "too_long" for answer in answers):
            return Verdict(None, reason="too_long")
        if self.scoring == "expected":
            return self._expected(answers)
        score = self.parse(answers[0].text)
        return Verdict(score, answers[0].text, None if score is not None else "unparsed")

    def read(self, case: Case, answer: Answer | None) -> Verdict:
        """See `verdict`; for a number with two digits one answer is not enough."""
        if answer is None:
            return Verdict(None, reason="too_long")
        return self.verdict(case, Question(()), [answer])

    @property
    def options(self) -> tuple[str, ...]:
        """The scale's whole numbers, as the tokens that follow the opening; first digits of 10."""
        if not self._second_digit:
            return self._numbers
        return tuple(sorted({"1", *self._numbers[:-1]}))

    @property
    def _numbers(self) -> tuple[str, ...]:
        return tuple(map(str, whole_numbers(self.low, self.high)))

    @property
    def _second_digit(self) -> bool:
        return self.split_digits and self._numbers[-1:] == ("10",)

    def _expected(self, answers: Sequence[Answer]) -> Verdict:
        first, *second = [answer.options for answer in answers]
        weights = weights_of(first)
        if self._second_digit:
            weights = with_ten(weights, second[0]) if second else {}
        values = {number: float(number) for number in self._numbers}
        score = mean(weights, values)
        if score is None:
            return Verdict(None, reason="no_option")
        return Verdict(score, told(weights, values))


def _texts(case: Case) -> dict[str, str]:
    return {"{prompt}": case.prompt, "{response}": case.answer}
