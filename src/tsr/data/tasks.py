"""Any number of distinct prompts with checkable constraints, made from a seed.

A prompt is an ask (see asks.py, questions.py) and one to three sentences, one for each constraint.
The words are plain and the prompts short, so that a model of some hundred million parameters has a
chance with them.
"""

from collections.abc import Callable, Iterator
from typing import Final

from tsr.data.asks import draw_ask, draw_record
from tsr.data.choices import FIRST, FURTHER
from tsr.data.constraints import Constraint, as_json, compatible, describe_all
from tsr.data.constraints.exact import Exact
from tsr.data.constraints.layout import JsonObject
from tsr.data.dice import Dice
from tsr.data.questions import NUMBER_QUESTIONS, WORD_QUESTIONS
from tsr.data.rows import Row, prompt_id
from tsr.settings import Refused

# Raised when the same seed would give other prompts than before.
VERSION: Final = 1
_PATIENCE: Final = 10_000

# An ask, its style, and the constraint it cannot do without, if any.
Begun = tuple[str, str, Constraint | None]


def tasks(count: int, seed: int) -> list[Row]:
    """The first `count` prompts of a seed's sequence; asking for more never changes the first."""
    drawn = _sequence(seed)
    return [next(drawn) for _ in range(count)]


def _sequence(seed: int) -> Iterator[Row]:
    dice = Dice("tasks", VERSION, seed)
    seen: set[str] = set()
    misses = 0
    while misses < _PATIENCE:
        row = _draw(dice)
        misses = misses + 1 if row.id in seen else 0
        if not misses:
            seen.add(row.id)
            yield row
    raise Refused(f"tasks: only {len(seen)} distinct prompts can be made")


def _draw(dice: Dice) -> Row:
    ask, style, needed = dice.pick(_BEGINNINGS)(dice)
    constraints = _constraints(dice, style, needed)
    prompt = f"{ask} {describe_all(constraints)}"
    return Row(prompt_id(prompt), prompt, None, tuple(map(as_json, constraints)))


def _constraints(dice: Dice, style: str, needed: Constraint | None) -> list[Constraint]:
    """The needed one or a first one, and up to two more that go with it."""
    chosen = [needed or dice.pick(FIRST[style])(dice)]
    wanted = dice.pick((1, 1, 2, 2, 2, 3))
    for make in dice.some(FURTHER[style], len(FURTHER[style])):
        candidate = [*chosen, make(dice)]
        if len(candidate) <= wanted and compatible(candidate):
            chosen = candidate
    return chosen


def _open(dice: Dice) -> Begun:
    ask, style = draw_ask(dice)
    return ask, style, None


def _record(dice: Dice) -> Begun:
    ask, keys = draw_record(dice)
    return ask, "record", JsonObject(keys)


def _number(dice: Dice) -> Begun:
    ask, answer = dice.pick(NUMBER_QUESTIONS)(dice)
    return ask, "number", Exact(answer)


def _word(dice: Dice) -> Begun:
    ask, answer = dice.pick(WORD_QUESTIONS)(dice)
    return ask, "word", Exact(answer)


# Three in four are open asks; the rest are in equal parts JSON, numbers and single words.
_BEGINNINGS: Final[tuple[Callable[[Dice], Begun], ...]] = (*[_open] * 9, _record, _number, _word)
