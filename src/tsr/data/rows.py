"""A row of data: a prompt, perhaps an answer to learn from, and what can be checked in answers."""

import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Row:
    """constraints: JSON objects that `tsr.data.constraints.parse` reads."""

    id: str
    prompt: str
    response: str | None = None
    constraints: tuple[dict[str, Any], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The object that a JSONL file holds."""
        answer = {} if self.response is None else {"response": self.response}
        return {"id": self.id, "prompt": self.prompt, **answer, "constraints": [*self.constraints]}

    @classmethod
    def from_json(cls, obj: Mapping[str, Any]) -> Self:
        """The row that `as_json` wrote."""
        constraints = tuple(obj.get("constraints", ()))
        return cls(obj["id"], obj["prompt"], obj.get("response"), constraints)


def normalised(prompt: str) -> str:
    """What makes two prompts the same: case, spacing and Unicode form do not tell them apart."""
    return " ".join(unicodedata.normalize("NFKC", prompt).casefold().split())


def prompt_id(prompt: str) -> str:
    """First 16 hex digits of the SHA-256 of the normalised prompt."""
    return hashlib.sha256(normalised(prompt).encode()).hexdigest()[:16]
