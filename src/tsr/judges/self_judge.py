"""LLM-as-a-judge with the additive five-point prompt (Yuan et al., arXiv 2401.10020, Fig. 2).

The project's prompt is written anew with the same structure and criteria; the original text can be
given as `judge.prompt_file`. The paper (arXiv 2508.06026, App. C) adds a system prompt.
"""

import math
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Self

from tsr.config import JudgeConfig
from tsr.engines.base import Answer, Message, Request
from tsr.judges.base import Case, Judge, Verdict
from tsr.judges.parse import parse_score
from tsr.settings import Refused


@dataclass(frozen=True)
class SelfJudge(Judge):
    """A generative judge: `text` samples a justification and reads its score; `expected` does not.

    prompt: text with {prompt} and {response} in it; system: the system turn, empty for none.
    """

    scoring: str = "text"
    prompt: str = ""
    system: str = ""
    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 1024

    @classmethod
    def of(cls, settings: JudgeConfig, **options: Any) -> Self:
        """Read the prompts; Refused if the prompt lacks a placeholder."""
        prompt = _text("judge.prompt_file", settings.prompt_file, "additive_5.txt")
        missing = [p for p in ("{prompt}", "{response}") if p not in prompt]
        if missing:
            raise Refused(
                f"judge.prompt_file={settings.prompt_file}: needs {' and '.join(missing)}"
            )
        system = _text("judge.system_file", settings.system_file, "system.txt")
        sampling: dict[str, Any] = {}
        if settings.scoring == "text":  # `expected` samples nothing, so its key must not vary
            names = ("temperature", "top_p", "max_new_tokens")
            sampling = {name: getattr(settings, name) for name in names}
        return cls(
            settings.low,
            settings.high,
            settings.n,
            settings.scoring,
            prompt,
            system,
            **sampling,
            **options,
        )

    def request(self, case: Case, seeds: tuple[int, ...]) -> Request:
        """The judge's conversation about a case."""
        values = {"{prompt}": case.prompt, "{response}": case.answer}
        # One pass, so that braces in untrusted texts are never taken for placeholders.
        asked = re.sub(r"\{(?:prompt|response)\}", lambda m: values[m[0]], self.prompt)
        messages = [Message(role="user", content=asked)]
        if self.system:
            messages.insert(0, Message(role="system", content=self.system))
        if self.scoring == "expected":
            return Request(case.id, tuple(messages), seeds, opening="Score: ", options=self.options)
        return Request(
            case.id, tuple(messages), seeds, self.temperature, self.top_p, self.max_new_tokens
        )

    @property
    def options(self) -> tuple[str, ...]:
        """The scale's whole numbers, as the tokens that follow `Score: `."""
        return tuple(str(n) for n in range(math.ceil(self.low), math.floor(self.high) + 1))

    def read(self, case: Case, answer: Answer | None) -> Verdict:
        """The score in the text (last valid match), or the expected score of the options."""
        if answer is None or answer.finish == "too_long":
            return Verdict(None, reason="too_long")
        if self.scoring == "expected":
            return _expected(answer)
        score = parse_score(answer.text, self.low, self.high)
        return Verdict(score, answer.text, None if score is not None else "unparsed")


def _expected(answer: Answer) -> Verdict:
    """Sum of score x probability over the allowed tokens, probabilities normalised to them."""
    assert answer.options is not None
    top = max(answer.options.values())
    weights = {option: math.exp(lp - top) for option, lp in answer.options.items()}
    total = sum(weights.values())
    score = sum(float(option) * w for option, w in weights.items()) / total
    shares = ", ".join(f"{option}: {w / total:.3f}" for option, w in weights.items())
    return Verdict(score, shares)


def _text(field: str, path: str | None, default: str) -> str:
    if path is None:
        packaged = resources.files("tsr.judges").joinpath("prompts", default)
        return packaged.read_text("utf-8").rstrip("\n")
    try:
        return Path(path).read_text("utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{field}={path}: cannot be read ({error})") from error
