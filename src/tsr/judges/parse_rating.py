# ruff: noqa: RUF001 - marks that look alike are meant
"""Reading `Rating: [[5]]` off a critique (Auto-J; `评分: [[5]]` in Chinese).

As in parse.py, what is not plainly a rating on the asked scale is none: Auto-J's own code gives 0
there, which would make the answer `rejected`.
"""

import re
from typing import Final

# Linear in the text: each run of spaces and marks is possessive, so it is never tried again. The
# brackets come first because they are rare, and `re` is quick to find them.
_BRACKETS: Final = re.compile(
    r"""
    \[\[[\s*_]*+
    (?P<number>[-−+]?[0-9]{1,9}+(?:\.[0-9]{1,9}+)?+)
    (?:\s*+(?:/|out[ ]of)\s*+(?P<scale>[0-9]{1,9}+(?:\.0)?))?+
    [\s*_]*+\]\]
    """,
    re.VERBOSE,
)
# What stands before the brackets, in so many characters.
_REACH: Final = 40
_WORD: Final = re.compile(
    r"""
    (?P<before>.{0,12})
    (?:(?<![^\W_])rating|评分)[*_`"”]*+                 # "rating", **Rating**, final_rating
    \s*+(?:[:：=]|\bis\b\s*+:?|是|为)?+                 # Rating: [[5]], the rating is [[5]]
    [\s*_`"“]*+$
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
# `The highest rating is [[10]]` tells the scale.
_SCALE_WORDS: Final = re.compile(
    r"(?:\b(?:max|maximum|min|minimum|possible|highest|lowest|perfect|full|top|best)\s|[高低满])$",
    re.IGNORECASE,
)


def parse_rating(text: str, low: float, high: float) -> float | None:
    """The last rating in the text that lies in [low, high]; None when there is none.

    `Rating: [[8/10]]` needs `high` to be 10.
    """
    found = [_value(text, match, high) for match in _BRACKETS.finditer(text)]
    valid = [value for value in found if value is not None and low <= value <= high]
    return valid[-1] if valid else None


def _value(text: str, match: re.Match[str], high: float) -> float | None:
    word = _WORD.search(text[max(0, match.start() - _REACH) : match.start()])
    if word is None or _SCALE_WORDS.search(word["before"]):
        return None
    if match["scale"] is not None and float(match["scale"]) != high:
        return None
    return float(match["number"].replace("−", "-"))
