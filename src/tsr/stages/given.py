"""Answers that are given, such as those that people have ranked: a pool that nobody samples."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tsr.data.rows import Row
from tsr.jsonl import read_jsonl, write_jsonl
from tsr.selectors import Candidate
from tsr.settings import setting
from tsr.stages.pool import Pool
from tsr.workbench import Workbench


@dataclass(frozen=True)
class Answered:
    """A prompt and its answers."""

    id: str
    prompt: str
    answers: tuple[str, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Given(Pool):
    """Writes `candidates.jsonl`; an answer's place among those to its prompt is its sample.

    content: hash of the prompts and answers, by which they are known.
    """

    kind: ClassVar[str] = "given"
    needs: ClassVar[str] = "light"

    content: str
    answered: tuple[Answered, ...] = setting((), neutral=True)

    @classmethod
    def of(cls, answered: Sequence[Answered]) -> "Given":
        """The pool of these answers."""
        text = json.dumps([[a.id, a.prompt, a.answers] for a in answered])
        return cls(hashlib.sha256(text.encode()).hexdigest(), tuple(answered))

    @property
    def count(self) -> int:
        """How many answers there are."""
        return sum(len(a.answers) for a in self.answered)

    @property
    def each(self) -> int:
        """The most answers to a prompt."""
        return max(len(a.answers) for a in self.answered)

    @property
    def name(self) -> str:
        """Nobody in particular."""
        return self.kind

    def produce(self, bench: Workbench) -> dict[str, Any]:
        """Write them down."""
        rows = [
            {"prompt_id": a.id, "prompt": a.prompt, "sample": i, "text": text}
            for a in self.answered
            for i, text in enumerate(a.answers)
        ]
        write_jsonl(bench.folder / "candidates.jsonl", rows)
        return {"units": len(rows), "candidates": len(rows)}

    def rows(self, bench: Workbench) -> list[Row]:
        """The prompts."""
        return [Row(a.id, a.prompt) for a in self.answered]

    def read(self, bench: Workbench) -> list[Candidate]:
        """The answers."""
        return [
            Candidate(r["prompt_id"], self.name, 0, r["sample"], r["text"], None)
            for r in read_jsonl(bench.artifact(self) / "candidates.jsonl")
        ]
