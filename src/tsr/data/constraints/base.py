"""What a constraint is: a kind, its parameters, a check, and a sentence for the prompt."""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from tsr.data.constraints import text
from tsr.settings import Refused


@dataclass(frozen=True)
class Constraint:
    """Fields are the parameters: whole numbers of at least 1, texts, or tuples of texts."""

    kind: ClassVar[str]

    def met(self, answer: str) -> bool:
        """Whether an answer that has a letter or digit keeps to this."""
        raise NotImplementedError

    def describe(self) -> str:
        """The English sentence that asks for this."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise Refused for a parameter that no answer could be checked against."""
        for name, value in parameters(self).items():
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, str) and not text.says_something(part):
                    raise self.refusal(name, "a text with a letter or digit in it")

    def refusal(self, name: str, allowed: str) -> Refused:
        """Says which parameter is wrong and what it may be."""
        return Refused(f"constraint {self.kind}.{name}={getattr(self, name)!r}: must be {allowed}")


def parameters(constraint: Constraint) -> dict[str, Any]:
    """The parameters by name."""
    return {f.name: getattr(constraint, f.name) for f in dataclasses.fields(constraint)}


def as_json(constraint: Constraint) -> dict[str, Any]:
    """The JSON object that `parse` reads back."""
    values = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in parameters(constraint).items()
    }
    return {"kind": constraint.kind, **values}


def count(n: int, noun: str) -> str:
    """`1 word`, `2 words`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def listed(words: tuple[str, ...], last: str = "and") -> str:
    """`"a"`, `"a" and "b"`, `"a", "b" and "c"`."""
    quoted = [f'"{word}"' for word in words]
    return f" {last} ".join([", ".join(quoted[:-1]), quoted[-1]] if quoted[1:] else quoted)
