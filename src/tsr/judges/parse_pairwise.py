"""Reading the verdict `[[A]]`, `[[B]]` or `[[C]]` (a tie) off a comparison of two responses.

As in parse.py, what is not plainly a verdict is none: `[[A]] or [[B]]` repeats the choice, and
`[[A]] if the first is better` repeats the instruction.
"""

import re
from typing import Final

_SHARES: Final = {"a": 1.0, "b": 0.0, "c": 0.5, "tie": 0.5}
_MARK: Final = (
    r"\[\[[\s*_]*+(?:(?:response|assistant|answer)\s++)?+(?P<who{}>a|b|c|tie)[\s*_]*+\]\]"
)
# Linear in the text: each run of spaces and marks is possessive, so it is never tried again.
_VERDICT: Final = re.compile(
    _MARK.format("")
    + r"(?P<more>(?:[\s*_`\"'“”,;/|]*+(?:(?:or|and|vs)\b[\s.*_`\"'“”]*+)?+"
    + _MARK.format("_more")
    + r")*+)(?P<rule>[*_`\"'”)]*+[ \t]*+(?:if|when|means|for[ ]a[ ](?:tie|draw))\b)?+",
    re.IGNORECASE,
)


def parse_pairwise(text: str) -> float | None:
    """How much of a win the last verdict is for A: 1, 0, or 0.5 for a tie; None without one."""
    valid = [m for m in _VERDICT.finditer(text) if not m["rule"] and _agrees(m)]
    return _SHARES[valid[-1]["who"].lower()] if valid else None


def _agrees(match: re.Match[str]) -> bool:
    """Verdicts side by side say something only when they say the same."""
    said = re.findall(_MARK.format(""), match[0], re.IGNORECASE)
    return len({who.lower() for who in said}) == 1
