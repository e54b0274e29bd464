# ruff: noqa: RUF001 - marks that look alike are meant
"""Reading a score off a judge's text.

A judge that was asked for `Score: <total points>` writes it in many ways, and small judges write
much else: the template itself, ranges, other scales, code. What is not plainly a score on the asked
scale is no score: a wrong one would make an answer `chosen` or `rejected`, a missing one is only
counted. So `a score of 4` is not read: of 52 real judgements that say it, 9 mean a score that they
do not give ("not worth a score of 5").
"""

import re
from typing import Final

# Linear in the text: each run of spaces and marks is possessive, so it is never tried again.
# It begins with a set of letters, which `re` looks for six times faster than for a lookbehind.
_SCORE: Final = re.compile(
    r"""
    (?P<word>(?-i:[sS])core)(?<![^\W_]score)[\"'”*_`]*+  # "score", **Score**, total_score
    (?:\s++(?:of|for)\s++(?:the|this|that|your)\s++\w++)?+  # ... of the evaluation
    \s*+(?P<sign>[:：=]|\bis\b\s*+:?)                   # Score: 4, Score = 4, the score is 4
    (?P<gap>[\s*_`\"'“‘<(\[{]*+)
    (?P<number>[-−+]?[0-9]++(?:\.[0-9]++)?)
    (?P<sum>(?:\s*+\+\s*+[0-9]++(?:\.[0-9]++)?)++\s*+=\s*+(?P<total>[0-9]++(?:\.[0-9]++)?))?+
    [*_`\"'”’>)\]}]*+
    (?:[ \t]*+(?:points?[ ])?+\(?(?:/|(?:out[ ])?of)[ \t]*+(?:[a-z]++[ ]){0,3}+  # out of a total of
        (?P<scale>[0-9]++(?:\.[0-9]++)?))?+
    (?=(?P<rest>[^\n]{0,12}))
    """,
    re.VERBOSE | re.IGNORECASE,
)
# `Maximum score: 5` tells the scale.
_SCALE_WORDS: Final = re.compile(
    r"\b(?:max|maximum|min|minimum|possible|highest|lowest|perfect|full|top|best)\s$", re.IGNORECASE
)
# What goes on as a range, a list, a fraction, a sum, a date or a word is no single number.
_GOES_ON: Final = re.compile(
    r"[\w%^]|[-.,:]\w|[ \t]*(?:[-−–—~/+*×,][ \t]*[0-9]|[=/]|(?:to|or|and)\b[ \t]*[0-9]|[0-9])",
    re.IGNORECASE,
)
# `score = 0` alone opens the Python that small judges like to write.
_PROSE: Final = re.compile(r"\b(?:total|final|overall|the|my)\s$", re.IGNORECASE)


def parse_score(text: str, low: float, high: float) -> float | None:
    """The last score in the text that lies in [low, high]; None when there is none.

    `Score: 4/5` and `4 out of 5` need `high` to be 5; `Score: 1 + 1 + 1 = 3` is 3.
    """
    found = [_value(text, match, high) for match in _SCORE.finditer(text)]
    valid = [value for value in found if value is not None and low <= value <= high]
    return valid[-1] if valid else None


def _value(text: str, match: re.Match[str], high: float) -> float | None:
    before = text[max(0, match.start() - 12) : match.start()]
    if _SCALE_WORDS.search(before) or _GOES_ON.match(match["rest"]) or _is_code(match, before):
        return None
    if "\n" in match["gap"] and match["rest"].strip(" \t\r.*_`"):
        return None  # a number on the next line counts when it has the line for itself
    if match["scale"] is not None and float(match["scale"]) != high:
        return None
    return float((match["total"] or match["number"]).replace("−", "-"))


def _is_code(match: re.Match[str], before: str) -> bool:
    return match["sign"] == "=" and match["word"].islower() and not _PROSE.search(before)
