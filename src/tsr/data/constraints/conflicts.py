"""Which constraints can be asked for together without contradiction or strangeness.

Stricter than logic needs: what one answer could fulfil only by a trick counts as a conflict too.
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any, Final

from tsr.data.constraints import text
from tsr.data.constraints.base import Constraint
from tsr.data.constraints.exact import Exact

_ALONE: Final = {
    # kind -> the only kinds that may stand beside it
    "json_object": {"includes", "excludes", "number"},
    "exact": {"sentences", "min_words", "max_words", "includes", "excludes", "starts_with"},
    "quoted": {"min_words", "max_words", "sentences", "includes", "excludes", "no_commas"}
    | {"lower_case", "upper_case", "title_case", "letter", "word_times", "language"},
}
_GROUPS: Final = (
    # kinds of which only one may stand
    {"lower_case", "upper_case", "title_case"},
    {"bullets", "numbered", "sentences", "starts_with"},
    {"bullets", "numbered", "paragraphs", "question", "ends_with"},
    {"bullets", "numbered", "json_object", "exact", "quoted"},
    {"digits", "number", "numbered"},
    {"digits", "exact"},
)
_LEAST_WORDS: Final[dict[str, Callable[[Any], int]]] = {
    # how many words something needs to be done well
    "sentences": lambda c: 5 * c.n,
    "paragraphs": lambda c: 10 * c.n,
    "bullets": lambda c: 4 * c.n,
    "numbered": lambda c: 4 * c.n,
    "min_words": lambda c: c.n + 5,
    "word_times": lambda c: 5 * c.n,
    "includes": lambda c: 5 * len(c.words),
    "letter": lambda c: 2 * c.n,
    "digits": lambda c: 3 + 2 * c.n,
    "exact": lambda c: 10,
    "starts_with": lambda c: 5 + len(text.words(c.phrase)),
    "ends_with": lambda c: 5 + len(text.words(c.phrase)),
    "number": lambda c: 5,
    "question": lambda c: 5,
}
_WORDING: Final = {"includes", "excludes", "word_times", "starts_with", "ends_with"}


def compatible(constraints: Sequence[Constraint]) -> bool:
    """Whether no two of the constraints are in conflict."""
    return not any(_conflict(a, b) or _conflict(b, a) for a, b in combinations(constraints, 2))


def _conflict(a: Constraint, b: Constraint) -> bool:
    """Whether b cannot stand beside a; asked in both directions."""
    return (
        a.kind == b.kind
        or (isinstance(a, Exact) and not a.is_number)  # nothing but that answer is right
        or b.kind not in _ALONE.get(a.kind, {b.kind})
        or any({a.kind, b.kind} <= group for group in _GROUPS)
        or _out_of_room(a, b)
        or _wording_conflict(a, b)
    )


def _out_of_room(a: Any, b: Any) -> bool:
    if a.kind == "max_words" and b.kind in _LEAST_WORDS:
        return bool(a.n < _LEAST_WORDS[b.kind](b))
    if (a.kind, b.kind) == ("sentences", "paragraphs"):
        return bool(a.n < b.n)
    # Up to some thirty words a sentence and fifteen an item still read well.
    room = {"sentences": 30, "bullets": 15, "numbered": 15, "quoted": 60}.get(a.kind)
    return b.kind == "min_words" and room is not None and b.n > room * getattr(a, "n", 1)


def _wording_conflict(a: Any, b: Any) -> bool:
    given = _phrases(a)
    if a.kind in _WORDING and b.kind in _WORDING:
        return any(text.occurrences(x, y) for x in given for y in _phrases(b))
    if b.kind == "language":
        return a.kind in _WORDING and b.code != "en"
    if a.kind in ("starts_with", "ends_with", "exact"):
        return _form_conflict(b.kind, given)
    if b.kind == "no_commas":
        return any("," in phrase for phrase in given)
    if a.kind == "includes" and b.kind == "lower_case":
        return any(phrase != phrase.lower() for phrase in given)
    return b.kind == "digits" and any(map(str.isdecimal, "".join(given)))


def _form_conflict(form: str, phrases: tuple[str, ...]) -> bool:
    """Whether a phrase that is quoted as it must stand breaks a rule on the form."""
    forms: dict[str, Callable[[str], bool]] = {
        "lower_case": str.islower,
        "upper_case": str.isupper,
        "title_case": str.istitle,
        "no_commas": lambda phrase: "," not in phrase,
        "digits": lambda phrase: not any(map(str.isdecimal, phrase)),
    }
    keeps = forms.get(form)
    return keeps is not None and not all(map(keeps, phrases))


def _phrases(constraint: Any) -> tuple[str, ...]:
    """The words and phrases that a constraint quotes."""
    single = [getattr(constraint, name, None) for name in ("word", "phrase", "answer")]
    return (*getattr(constraint, "words", ()), *(p for p in single if p is not None))
