"""LLM-as-a-judge with the additive five-point prompt (Yuan et al., arXiv 2401.10020, Fig. 2).

The project's prompt is written anew with the same structure and criteria; the original text can be
given as `judge.prompt_file`. The paper (arXiv 2508.06026, App. C) adds a system prompt.
"""

from dataclasses import dataclass
from typing import ClassVar

from tsr.judges.parse import parse_score
from tsr.judges.rating import RatingJudge


@dataclass(frozen=True)
class SelfJudge(RatingJudge):
    """Points from 0 to 5, told as `Score: 4` after a short justification."""

    prompt_name: ClassVar[str] = "additive_5.txt"
    system_name: ClassVar[str | None] = "system.txt"
    opening: ClassVar[str] = "Score: "

    def parse(self, text: str) -> float | None:
        """See parse_score."""
        return parse_score(text, self.low, self.high)
