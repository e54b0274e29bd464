"""The verifier: the share of a prompt's checkable constraints that an answer fulfils. No model."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from tsr.config import JudgeConfig
from tsr.data.constraints import fulfilled, parse
from tsr.engines.base import Answer
from tsr.judges.base import Case, Judge, Verdict


@dataclass(frozen=True)
class Verifier(Judge):
    """Scores in [0, 1]; a prompt without constraints has no score."""

    needs_model: ClassVar[bool] = False

    @classmethod
    def of(cls, settings: JudgeConfig, **options: Any) -> Self:
        """The scale is a share and the verdict certain, so the settings change nothing."""
        return cls(**options)

    def read(self, case: Case, answer: Answer | None) -> Verdict:
        """Each constraint is met or not; the text lists which."""
        if not case.constraints:
            return Verdict(None, reason="no_constraints")
        met = [(c["kind"], fulfilled(parse(c), case.answer)) for c in case.constraints]
        text = ", ".join(f"{kind}: {'met' if ok else 'not met'}" for kind, ok in met)
        return Verdict(sum(ok for _, ok in met) / len(met), text)
