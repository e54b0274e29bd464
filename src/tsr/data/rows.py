"""A row of data: a prompt, perhaps an answer to learn from, and what can be checked in answers."""

import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Row:
    """constraints: JSON objects that `tsr.data.constraints.parse` reads.

    system: what stands before the prompt where SFT learns the answer; prompts are asked without it.
    """

    id: str
    prompt: str
    response: str | None = None
    constraints: tuple[dict[str, Any], ...] = ()
    system: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The object that a JSONL file holds."""
        maybe = {"system": self.system, "response": self.response}
        there = {name: text for name, text in maybe.items() if text is not None}
        return {"id": self.id, "prompt": self.prompt, **there, "constraints": [*self.constraints]}

    @classmethod
    def from_json(cls, obj: Mapping[str, Any]) -> Self:
        """The row that `as_json` wrote."""
        constraints = tuple(obj.get("constraints", ()))
        return cls(obj["id"], obj["prompt"], obj.get("response"), constraints, obj.get("system"))


def normalised(prompt: str) -> str:
    """What makes two prompts the same: case, spacing and Unicode form do not tell them apart."""
    return " ".join(unicodedata.normalize("NFKC", prompt).casefold().split())


def prompt_id(prompt: str) -> str:
    """First 16 hex digits of the SHA-256 of the normalised prompt."""
    return hashlib.sha256(normalised(prompt).encode()).hexdigest()[:16]
