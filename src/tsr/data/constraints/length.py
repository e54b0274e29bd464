"""Constraints on how much is written."""

from dataclasses import dataclass
from typing import ClassVar

from tsr.data.constraints import text
from tsr.data.constraints.base import Constraint, count


@dataclass(frozen=True)
class MinWords(Constraint):
    """At least n words."""

    kind: ClassVar[str] = "min_words"

    n: int

    def met(self, answer: str) -> bool:
        """See Constraint."""
        return len(text.words(answer)) >= self.n

    def describe(self) -> str:
        """See Constraint."""
        return f"Use at least {count(self.n, 'word')}."


@dataclass(frozen=True)
class MaxWords(Constraint):
    """At most n words."""

    kind: ClassVar[str] = "max_words"

    n: int

    def met(self, answer: str) -> bool:
        """See Constraint."""
        return len(text.words(answer)) <= self.n

    def describe(self) -> str:
        """See Constraint."""
        return f"Use at most {count(self.n, 'word')}."


@dataclass(frozen=True)
class Sentences(Constraint):
    """Exactly n sentences."""

    kind: ClassVar[str] = "sentences"

    n: int

    def met(self, answer: str) -> bool:
        """See Constraint."""
        return len(text.sentences(answer)) == self.n

    def describe(self) -> str:
        """See Constraint."""
        return f"Write exactly {count(self.n, 'sentence')}."


@dataclass(frozen=True)
class Paragraphs(Constraint):
    """Exactly n paragraphs."""

    kind: ClassVar[str] = "paragraphs"

    n: int

    def met(self, answer: str) -> bool:
        """See Constraint."""
        return len(text.paragraphs(answer)) == self.n

    def describe(self) -> str:
        """See Constraint."""
        if self.n == 1:
            return "Write a single paragraph."
        return f"Write {self.n} paragraphs with a blank line between them."
