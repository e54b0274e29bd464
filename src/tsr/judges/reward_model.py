"""A trained reward model as the judge: one number for a conversation, no text."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from tsr.config import JudgeConfig
from tsr.engines.base import Answer, Message, Request
from tsr.judges.base import Case, Judge, Verdict
from tsr.judges.options import flag


@dataclass(frozen=True)
class RewardModel(Judge):
    """Needs an engine that gives values (tsr.engines.reward_engine).

    squash: whether a reward r becomes 1 / (1 + exp(-r)): the probability, by Bradley and Terry,
        that the answer is preferred to one of reward 0. Rewards beyond about 36 then all score 1.
        Without it the reward itself is the score, and low and high are the scale.
    """

    engines: ClassVar[tuple[str, ...]] = ("reward",)

    squash: bool = True

    @classmethod
    def of(cls, settings: JudgeConfig, *, squash: bool = True, **options: Any) -> Self:
        """A reward is certain, so n is 1. The scale is [0, 1]; without `squash`, the settings'."""
        low, high = (0.0, 1.0) if flag("squash", squash) else (settings.low, settings.high)
        return cls(low=low, high=high, squash=squash, **options)

    def request(self, case: Case) -> Request:
        """The conversation as it was."""
        turns = [("user", case.prompt), ("assistant", case.answer)]
        messages = tuple(Message(role=role, content=text) for role, text in turns)
        return Request(case.id, messages, max_new_tokens=0)

    def read(self, case: Case, answer: Answer | None) -> Verdict:
        """The reward, squashed or not; the text tells it as it is."""
        if answer is None or answer.finish == "too_long":
            return Verdict(None, reason="too_long")
        reward = answer.value
        if reward is None:
            return Verdict(None, reason="no_value")
        if not math.isfinite(reward):
            return Verdict(None, str(reward), "not_finite")
        return Verdict(_sigmoid(reward) if self.squash else reward, f"reward: {reward:.6g}")


def _sigmoid(x: float) -> float:
    # exp of what is not positive: it cannot overflow, and low rewards stay apart.
    small = math.exp(-abs(x))
    return 1 / (1 + small) if x >= 0 else small / (1 + small)
