# ruff: noqa: RUF001 - marks that look alike are meant
"""Constraints on the form: lists, JSON, quotation marks, capitals, commas, the final mark."""

import json
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from tsr.data.constraints import text
from tsr.data.constraints.base import Constraint, count, listed

_QUOTES: Final = ('""', "“”", "„“", "«»", "‟”")
_CLOSERS: Final = " \t\r\n\"'”’»)]*_"


@dataclass(frozen=True)
class Bullets(Constraint):
    """Exactly n bulleted items; other lines may stand around them."""

    kind: ClassVar[str] = "bullets"

    n: int

    def met(self, answer: str) -> bool:
        """See Constraint."""
        return text.bullets(answer) == self.n

    def describe(self) -> str:
        """See Constraint."""
        return (
            f'Write a list of exactly {count(self.n, "item")}, each on a line starting with "- ".'
        )


@dataclass(frozen=True)
class Numbered(Constraint):
    """Exactly n items numbered from 1; other lines may stand around them."""

    kind: ClassVar[str] = "numbered"

    n: int

    def met(self, answer: str) -> bool:
        """See Constraint."""
        return text.numbers(answer) == list(range(1, self.n + 1))

    def describe(self) -> str:
        """See Constraint."""
        return f"Write a numbered list of exactly {count(self.n, 'item')}."


@dataclass(frozen=True)
class JsonObject(Constraint):
    """Nothing but a JSON object with exactly these keys; a ``` fence around it is allowed."""

    kind: ClassVar[str] = "json_object"

    keys: tuple[str, ...]

    def met(self, answer: str) -> bool:
        """See Constraint."""
        found = _json(_unfenced(answer.strip()))
        return isinstance(found, dict) and set(found) == set(self.keys)

    def describe(self) -> str:
        """See Constraint."""
        noun = "key" if len(self.keys) == 1 else "keys"
        return f"Answer with only a JSON object with the {noun} {listed(self.keys)}."


def _unfenced(answer: str) -> str:
    if not answer.startswith("```"):
        return answer
    return answer.removeprefix("```").removeprefix("json").removesuffix("```")


def _json(answer: str) -> Any:
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):  # the latter from thousands of nested brackets
        return None


@dataclass(frozen=True)
class Quoted(Constraint):
    """The whole answer stands in one pair of double quotation marks."""

    kind: ClassVar[str] = "quoted"

    def met(self, answer: str) -> bool:
        """See Constraint."""
        whole = answer.strip()
        return any(whole.startswith(a) and whole.endswith(b) for a, b in _QUOTES)

    def describe(self) -> str:
        """See Constraint."""
        return "Put the whole answer in double quotation marks."


@dataclass(frozen=True)
class LowerCase(Constraint):
    """Letters, and no capital among them."""

    kind: ClassVar[str] = "lower_case"

    def met(self, answer: str) -> bool:
        """See Constraint."""
        return any(map(str.islower, answer)) and not any(map(_is_capital, answer))

    def describe(self) -> str:
        """See Constraint."""
        return "Use lowercase letters only."


@dataclass(frozen=True)
class UpperCase(Constraint):
    """Letters, and all of them capitals."""

    kind: ClassVar[str] = "upper_case"

    def met(self, answer: str) -> bool:
        """See Constraint."""
        return any(map(str.isupper, answer)) and not any(map(str.islower, answer))

    def describe(self) -> str:
        """See Constraint."""
        return "Use capital letters only."


@dataclass(frozen=True)
class TitleCase(Constraint):
    """Every word that begins with a letter begins with a capital."""

    kind: ClassVar[str] = "title_case"

    def met(self, answer: str) -> bool:
        """See Constraint."""
        firsts = [next(filter(str.isalnum, word)) for word in text.words(answer)]
        return any(map(_is_capital, firsts)) and not any(map(str.islower, firsts))

    def describe(self) -> str:
        """See Constraint."""
        return "Start every word with a capital letter."


def _is_capital(letter: str) -> bool:
    return letter.isupper() or letter.istitle()


@dataclass(frozen=True)
class NoCommas(Constraint):
    """No comma of any script."""

    kind: ClassVar[str] = "no_commas"

    def met(self, answer: str) -> bool:
        """See Constraint."""
        return not any(mark in answer for mark in ",，、،")

    def describe(self) -> str:
        """See Constraint."""
        return "Do not use commas."


@dataclass(frozen=True)
class Question(Constraint):
    """The answer ends with a question mark."""

    kind: ClassVar[str] = "question"

    def met(self, answer: str) -> bool:
        """See Constraint."""
        return answer.rstrip(_CLOSERS).endswith(("?", "？", "؟"))

    def describe(self) -> str:
        """See Constraint."""
        return "End with a question mark."
