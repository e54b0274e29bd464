# ruff: noqa: RUF001 - marks that look alike are meant
"""How a text is cut into words, sentences, paragraphs and list items.

All of it is a heuristic that a person would agree with on ordinary prose; none of it depends on a
language model. Every pattern is linear in the text's length, since the texts are untrusted.
"""

import re
import unicodedata
from itertools import groupby
from typing import Final

BULLET: Final = re.compile(r"^[ \t]*[-*+•–][ \t]+(?=\S)")
NUMBER: Final = re.compile(r"^[ \t]*([0-9]{1,3})[.)][ \t]+(?=\S)")
_GAP: Final = re.compile(r"[\s—–]+")
# A run of marks is entered at its start only: a long run of dots must not cost its square.
_STOP: Final = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’»)\]*_]*+(?=\s|$)|[。！？]+")
_ABBREVIATION: Final = re.compile(
    r"\b(?:e\.g|i\.e|cf|vs|approx|[ap]\.m|mrs?|ms|dr|prof|st|z\.b|d\.h|bzw|sra?)\.$", re.IGNORECASE
)
_FOLDS: Final = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"'})


def says_something(text: str) -> bool:
    """Whether there is a letter or a digit in it."""
    return any(map(str.isalnum, text))


def folded(text: str) -> str:
    """One form for comparing: composed, caseless, straight quotes, single spaces."""
    plain = unicodedata.normalize("NFKC", text).translate(_FOLDS).casefold()
    return " ".join(plain.split())


def words(text: str) -> list[str]:
    """What stands between spaces and long dashes and has a letter or digit; no list markers."""
    return [word for word in _GAP.split(_without_markers(text)) if says_something(word)]


def sentences(text: str) -> list[str]:
    """Cut after . ! ? … before a space (not after common abbreviations), and at blank lines."""
    return [s for block in paragraphs(text) for s in _cut(block) if says_something(s)]


def _cut(block: str) -> list[str]:
    block = _without_markers(block)
    ends = [
        m.end()
        for m in _STOP.finditer(block)
        if not _ABBREVIATION.search(block, max(0, m.end() - 9), m.end())
    ]
    return [block[a:b] for a, b in zip([0, *ends], [*ends, len(block)], strict=True)]


def paragraphs(text: str) -> list[str]:
    """Blocks between blank lines; a block without a letter or digit (a rule) is none."""
    groups = groupby(text.splitlines(), key=lambda line: bool(line.strip()))
    blocks = ["\n".join(lines) for filled, lines in groups if filled]
    return [block for block in blocks if says_something(block)]


def bullets(text: str) -> int:
    """How many lines begin with a bullet."""
    return sum(bool(BULLET.match(line)) for line in text.splitlines())


def numbers(text: str) -> list[int]:
    """The numbers that begin lines, as in `1. …` or `2) …`."""
    found = (NUMBER.match(line) for line in text.splitlines())
    return [int(m[1]) for m in found if m]


def _without_markers(text: str) -> str:
    lines = (BULLET.sub("", NUMBER.sub("", line, 1), 1) for line in text.splitlines())
    return "\n".join(lines)


def occurrences(word: str, text: str) -> int:
    """How often a word or phrase stands in a text, whole and in any case."""
    return len(re.findall(rf"(?<!\w){re.escape(folded(word))}(?!\w)", folded(text)))
