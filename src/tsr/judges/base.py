"""What a judge is: questions about a candidate, a reading of the answers, and a scale."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from tsr.config import JudgeConfig
from tsr.engines.base import Answer, Request


@dataclass(frozen=True)
class Case:
    """A candidate to be judged: the prompt, its checkable constraints, and the answer's text."""

    id: str
    prompt: str
    constraints: tuple[dict[str, Any], ...]
    answer: str


@dataclass(frozen=True)
class Question:
    """What one verdict is read from: requests that are asked with the same seeds.

    about: columns that the judgement's row gets beside its score, such as who the rival was.
    """

    requests: tuple[Request, ...]
    about: tuple[tuple[str, str | int], ...] = ()


@dataclass(frozen=True)
class Verdict:
    """One judgement. `score` is None when there is no valid one; `reason` then says why."""

    score: float | None
    text: str = ""
    reason: str | None = None


@dataclass(frozen=True)
class Judge:
    """Fields are the judge's recipe and part of the key of what it judges.

    Most judges ask one thing about one candidate: `request` and `read` are all that they need.
    Others ask more (`questions`) and read the answers together (`verdict`).

    low, high: the scale; a score outside is missing.
    n: judgements per candidate and question.
    needs_model: whether a model answers; without one, `read` gets None.
    engines: the engine families that can answer it; empty: any that makes text.
    compares: whether candidates are set against rivals, answers of the current model.
    """

    needs_model: ClassVar[bool] = True
    compares: ClassVar[bool] = False
    engines: ClassVar[tuple[str, ...]] = ()

    low: float = 0.0
    high: float = 1.0
    n: int = 1

    @classmethod
    def of(cls, settings: JudgeConfig, **options: Any) -> Self:
        """The judge that the config describes; options are `judge.options`."""
        return cls(low=settings.low, high=settings.high, n=settings.n, **options)

    def request(self, case: Case) -> Request:
        """What the judging model is asked about a case; the stage sets its id and seeds."""
        raise NotImplementedError

    def read(self, case: Case, answer: Answer | None) -> Verdict:
        """The verdict that an answer gives."""
        raise NotImplementedError

    def questions(self, case: Case, rivals: Sequence[Case]) -> list[Question]:
        """All that is asked about a case; `rivals` are answers to the same prompt.

        Without a model one question that asks nothing.
        """
        return [Question((self.request(case),) if self.needs_model else ())]

    def verdict(self, case: Case, question: Question, answers: Sequence[Answer]) -> Verdict:
        """The verdict that the answers to a question's requests give, in their order."""
        return self.read(case, answers[0])

    def asked(self, rivals: int) -> int:
        """How many judgements of a candidate there are, with so many rivals; for estimates."""
        return self.n
