"""Judges that are language models: a prompt with texts put into it, and how it is answered."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, Self

from tsr.config import JudgeConfig
from tsr.engines.base import Message, Request
from tsr.judges.base import Judge
from tsr.settings import Refused


@dataclass(frozen=True)
class GenerativeJudge(Judge):
    """What all generative judges share: the prompt, and two ways to get a verdict out of a model.

    prompt_name, system_name: the packaged texts that stand in for judge.prompt_file and
        judge.system_file; no system_name: no system turn.
    placeholders: what the prompt must have in it.
    scoring: `text` samples a justification with a verdict in it; `expected` samples nothing and
        weighs the tokens that a verdict may be.
    prompt: text with the placeholders in it; system: the system turn, empty for none.
    """

    prompt_name: ClassVar[str]
    system_name: ClassVar[str | None] = None
    placeholders: ClassVar[tuple[str, ...]] = ("{prompt}", "{response}")

    scoring: str = "text"
    prompt: str = ""
    system: str = ""
    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 1024

    @classmethod
    def of(cls, settings: JudgeConfig, **options: Any) -> Self:
        """Read the prompts; Refused if the prompt lacks a placeholder."""
        prompt = _text("judge.prompt_file", settings.prompt_file, cls.prompt_name)
        missing = [p for p in cls.placeholders if p not in prompt]
        if missing:
            raise Refused(
                f"judge.prompt_file={settings.prompt_file}: needs {' and '.join(missing)}"
            )
        system = _text("judge.system_file", settings.system_file, cls.system_name)
        names = ["low", "high", "n", "scoring"]
        if settings.scoring == "text":  # `expected` samples nothing, so its key must not vary
            names += ["temperature", "top_p", "max_new_tokens"]
        kept = {name: getattr(settings, name) for name in names}
        return cls(prompt=prompt, system=system, **kept, **options)

    def sampled(self, id: str, texts: Mapping[str, str]) -> Request:
        """The prompt, to be answered with a text; `texts` are what its placeholders stand for."""
        return Request(
            id,
            self._messages(texts),
            temperature=self.temperature,
            top_p=self.top_p,
            max_new_tokens=self.max_new_tokens,
        )

    def weighed(
        self, id: str, texts: Mapping[str, str], opening: str, options: tuple[str, ...]
    ) -> Request:
        """The prompt and the opening of its answer, to be gone on with by one of the options."""
        return Request(id, self._messages(texts), opening=opening, options=options)

    def _messages(self, texts: Mapping[str, str]) -> tuple[Message, ...]:
        # One pass, so that braces in untrusted texts are never taken for placeholders.
        places = "|".join(map(re.escape, self.placeholders))
        asked = Message(role="user", content=re.sub(places, lambda m: texts[m[0]], self.prompt))
        return (Message(role="system", content=self.system), asked) if self.system else (asked,)


def _text(field: str, path: str | None, default: str | None) -> str:
    if path is None:
        if default is None:
            return ""
        packaged = resources.files("tsr.judges").joinpath("prompts", default)
        return packaged.read_text("utf-8").rstrip("\n")
    try:
        return Path(path).read_text("utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{field}={path}: cannot be read ({error})") from error
