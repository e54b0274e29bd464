"""Auto-J's protocol for a single response: a critique, then a rating from 1 to 10.

Auto-J (Li et al., arXiv 2310.05470; GAIR/autoj-13b, GAIR/autoj-bilingual-6b) is trained on one
wording and is sensitive to it. The project's prompt has the same structure in words of its own: for
the judge as it was trained, give the exact text as `judge.prompt_file`, its places for query and
response written {prompt} and {response}. It answers greedily (temperature 0) and has no system
turn; Chinese judgements mark the rating with 评分.
"""

from dataclasses import dataclass
from typing import ClassVar

from tsr.judges.parse_rating import parse_rating
from tsr.judges.rating import RatingJudge


@dataclass(frozen=True)
class AutoJ(RatingJudge):
    """A rating from 1 to 10, told as `Rating: [[5]]` after a critique."""

    prompt_name: ClassVar[str] = "autoj.txt"
    opening: ClassVar[str] = "Rating: [["

    def parse(self, text: str) -> float | None:
        """See parse_rating."""
        return parse_rating(text, self.low, self.high)
