"""Constraints on which words, letters and digits are used. Case never matters here."""

from dataclasses import dataclass
from typing import ClassVar

from tsr.data.constraints import text
from tsr.data.constraints.base import Constraint, count, listed


@dataclass(frozen=True)
class Includes(Constraint):
    """Each of the words or phrases stands in the answer."""

    kind: ClassVar[str] = "includes"

    words: tuple[str, ...]

    def met(self, answer: str) -> bool:
        """See Constraint."""
        return all(text.occurrences(word, answer) for word in self.words)

    def describe(self) -> str:
        """See Constraint."""
        return f"Use the {'word' if len(self.words) == 1 else 'words'} {listed(self.words)}."


@dataclass(frozen=True)
class Excludes(Constraint):
    """None of the words or phrases stands in the answer."""

    kind: ClassVar[str] = "excludes"

    words: tuple[str, ...]

    def met(self, answer: str) -> bool:
        """See Constraint."""
        return not any(text.occurrences(word, answer) for word in self.words)

    def describe(self) -> str:
        """See Constraint."""
        noun = "word" if len(self.words) == 1 else "words"
        return f"Do not use the {noun} {listed(self.words, 'or')}."


@dataclass(frozen=True)
class WordTimes(Constraint):
    """A word stands exactly n times in the answer."""

    kind: ClassVar[str] = "word_times"

    word: str
    n: int

    def met(self, answer: str) -> bool:
        """See Constraint."""
        return text.occurrences(self.word, answer) == self.n

    def describe(self) -> str:
        """See Constraint."""
        return f'Use the word "{self.word}" exactly {count(self.n, "time")}.'


@dataclass(frozen=True)
class StartsWith(Constraint):
    """The answer starts with a phrase; marks before it do not matter."""

    kind: ClassVar[str] = "starts_with"

    phrase: str

    def met(self, answer: str) -> bool:
        """See Constraint."""
        start, phrase = _from_first(text.folded(answer)), _from_first(text.folded(self.phrase))
        return start.startswith(phrase) and not start[len(phrase) : len(phrase) + 1].isalnum()

    def describe(self) -> str:
        """See Constraint."""
        return f'Start with "{self.phrase}".'


@dataclass(frozen=True)
class EndsWith(Constraint):
    """The answer ends with a phrase; marks after it do not matter."""

    kind: ClassVar[str] = "ends_with"

    phrase: str

    def met(self, answer: str) -> bool:
        """See Constraint."""
        # Read backwards, an ending is a beginning.
        end, phrase = (_from_first(text.folded(t)[::-1]) for t in (answer, self.phrase))
        return end.startswith(phrase) and not end[len(phrase) : len(phrase) + 1].isalnum()

    def describe(self) -> str:
        """See Constraint."""
        return f'End with "{self.phrase}".'


def _from_first(folded: str) -> str:
    """From the first letter or digit on."""
    start = next((i for i, c in enumerate(folded) if c.isalnum()), len(folded))
    return folded[start:]


@dataclass(frozen=True)
class Letter(Constraint):
    """A letter stands at least n times in the answer."""

    kind: ClassVar[str] = "letter"

    letter: str
    n: int

    def check(self) -> None:
        """See Constraint."""
        if len(self.letter) != 1 or not self.letter.isalpha():
            raise self.refusal("letter", "a single letter")

    def met(self, answer: str) -> bool:
        """See Constraint."""
        return text.folded(answer).count(text.folded(self.letter)) >= self.n

    def describe(self) -> str:
        """See Constraint."""
        return f'Use the letter "{self.letter}" at least {count(self.n, "time")}.'


@dataclass(frozen=True)
class Digits(Constraint):
    """Exactly n digits."""

    kind: ClassVar[str] = "digits"

    n: int

    def met(self, answer: str) -> bool:
        """See Constraint."""
        return sum(map(str.isdecimal, answer)) == self.n

    def describe(self) -> str:
        """See Constraint."""
        return f"Use exactly {count(self.n, 'digit')}."


@dataclass(frozen=True)
class Number(Constraint):
    """At least one number written in digits."""

    kind: ClassVar[str] = "number"

    def met(self, answer: str) -> bool:
        """See Constraint."""
        return any(map(str.isdecimal, answer))

    def describe(self) -> str:
        """See Constraint."""
        return "Include a number written in digits."
