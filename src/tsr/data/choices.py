"""Which constraints suit which style of ask, and how their parameters are drawn."""

from collections.abc import Callable, Sequence
from typing import Final

from tsr.data.asks import WORDS
from tsr.data.constraints import Constraint, layout, length, wording
from tsr.data.constraints.language import Language
from tsr.data.dice import Dice

Make = Callable[[Dice], Constraint]

_WORDING: Final[dict[str, list[str]]] = WORDS["wording"]


def _n(kind: Callable[[int], Constraint], numbers: Sequence[int]) -> Make:
    return lambda d: kind(d.pick(numbers))


def _plain(kind: Callable[[], Constraint]) -> Make:
    return lambda d: kind()


def _starts(phrases: str) -> Make:
    return lambda d: wording.StartsWith(d.pick(_WORDING[phrases]))


def _ends(phrases: str) -> Make:
    return lambda d: wording.EndsWith(d.pick(_WORDING[phrases]))


def _includes(d: Dice) -> Constraint:
    return wording.Includes(d.some(_WORDING["include"], d.pick((1, 1, 2, 3))))


def _excludes(d: Dice) -> Constraint:
    return wording.Excludes(d.some(_WORDING["exclude"], d.pick((1, 1, 2))))


def _times(d: Dice) -> Constraint:
    return wording.WordTimes(d.pick(_WORDING["include"]), d.between(2, 3))


def _letter(often: Sequence[int]) -> Make:
    """A common letter one of these numbers of times, or a rare one a few times."""

    def make(d: Dice) -> Constraint:
        if d.below(3) == 0:
            return wording.Letter(d.pick("bckmvwz"), d.between(2, 4))
        return wording.Letter(d.pick("aeiost"), d.pick(often))

    return make


def _language(d: Dice) -> Constraint:
    return Language(d.pick(("fr", "es", "de")))


_MIN: Final = _n(length.MinWords, (10, 15, 20, 25, 30, 40, 50, 60))
_MAX: Final = _n(length.MaxWords, (15, 20, 25, 30, 40, 50, 60, 80))
_SENTENCES: Final = _n(length.Sentences, (1, 2, 3, 4, 5))
_PARAGRAPHS: Final = _n(length.Paragraphs, (2, 3))
_NO_COMMAS: Final = _plain(layout.NoCommas)
_QUOTED: Final = _plain(layout.Quoted)
_LOWER: Final = _plain(layout.LowerCase)
_UPPER: Final = _plain(layout.UpperCase)
_TITLE: Final = _plain(layout.TitleCase)
_NUMBER: Final = _plain(wording.Number)
_DIGITS: Final = _n(wording.Digits, (1, 2, 3, 4))
_QUESTION: Final = _plain(layout.Question)

_LETTER: Final = _letter((4, 6, 8, 10, 12))
_FEW_LETTERS: Final = _letter((2, 3, 4, 5))

# What suits a text of any kind, running text, a story and a single line.
_ANY: Final = (_includes, _excludes, _NO_COMMAS, _LOWER)
_PROSE: Final = (
    *(*_ANY, _UPPER, _QUOTED, _MIN, _MAX, _SENTENCES, _PARAGRAPHS),
    *(_times, _LETTER, _NUMBER, _DIGITS),
)
_STORY: Final = (*_PROSE, _starts("story_start"), _ends("story_end"))
_LINE: Final = (
    *(*_ANY, _FEW_LETTERS, _UPPER, _TITLE, _QUOTED, _QUESTION),
    _n(length.MaxWords, (6, 8, 10, 12)),
)

# style -> what its first constraint is drawn from, for asks that do not bring their own
FIRST: Final[dict[str, tuple[Make, ...]]] = {
    "prose": (*_PROSE, _starts("start"), _ends("end")),
    "story": _STORY,
    "line": _LINE,
    "list": (_n(layout.Bullets, (2, 3, 4, 5, 6)), _n(layout.Numbered, (2, 3, 4, 5, 6))),
    "question": (_QUESTION,),
    "foreign": (_language,),
}
# style -> what its further constraints are drawn from
FURTHER: Final[dict[str, tuple[Make, ...]]] = {
    "prose": FIRST["prose"],
    "story": _STORY,
    "line": _LINE,
    "list": (*_ANY, _LETTER, _UPPER, _TITLE, _n(length.MaxWords, (20, 30, 40, 50, 60))),
    "question": (*_ANY, _FEW_LETTERS, _starts("asking"), _n(length.MaxWords, (12, 15, 20))),
    "foreign": (_LETTER, _NO_COMMAS, _LOWER, _MIN, _MAX, _SENTENCES),
    "record": (_NUMBER,),
    "number": (_n(length.MinWords, (10, 15, 20)), _n(length.Sentences, (1, 2, 3))),
    "word": (),
}
