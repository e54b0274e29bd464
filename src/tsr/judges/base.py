"""What a judge is: a question about a candidate, a reading of the answer, and a scale."""

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
class Verdict:
    """One judgement. `score` is None when there is no valid one; `reason` then says why."""

    score: float | None
    text: str = ""
    reason: str | None = None


@dataclass(frozen=True)
class Judge:
    """Fields are the judge's recipe and part of the key of what it judges.

    low, high: the scale; a score outside is missing.
    n: judgements per candidate.
    needs_model: whether a language model answers `request`; without one, `read` gets None.
    """

    needs_model: ClassVar[bool] = True

    low: float = 0.0
    high: float = 1.0
    n: int = 1

    @classmethod
    def of(cls, settings: JudgeConfig, **options: Any) -> Self:
        """The judge that the config describes; options are `judge.options`."""
        return cls(low=settings.low, high=settings.high, n=settings.n, **options)

    def request(self, case: Case, seeds: tuple[int, ...]) -> Request:
        """What the judging model is asked about a case; one seed per judgement."""
        raise NotImplementedError

    def read(self, case: Case, answer: Answer | None) -> Verdict:
        """The verdict that an answer gives."""
        raise NotImplementedError
