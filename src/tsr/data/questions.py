"""Questions with one right answer, made with it: small sums, words and yes or no."""

from collections.abc import Callable
from typing import Final

from tsr.data.asks import WORDS
from tsr.data.dice import Dice

_WORDS: Final = WORDS["questions"]
NAMES: Final[list[str]] = _WORDS["names"]
ITEMS: Final[list[str]] = _WORDS["items"]
GROUPS: Final[list[list[str]]] = _WORDS["groups"]

# A question and its answer.
Asked = tuple[str, str]


def _more(d: Dice) -> Asked:
    name, item, a, b = d.pick(NAMES), d.pick(ITEMS), d.between(3, 60), d.between(2, 40)
    ask = f"{name} has {a} {item} and gets {b} more. How many {item} does {name} have now?"
    return ask, str(a + b)


def _fewer(d: Dice) -> Asked:
    name, item, a = d.pick(NAMES), d.pick(ITEMS), d.between(10, 80)
    b = d.between(2, a - 1)
    return f"{name} had {a} {item} and gave away {b}. How many {item} are left?", str(a - b)


def _boxes(d: Dice) -> Asked:
    item, a, b = d.pick(ITEMS), d.between(2, 12), d.between(2, 12)
    return f"There are {a} boxes with {b} {item} each. How many {item} are there in all?", str(
        a * b
    )


def _shared(d: Dice) -> Asked:
    (a, b), item, each, n = d.some(NAMES, 2), d.pick(ITEMS), d.between(2, 15), d.between(3, 8)
    ask = (
        f"{a}, {b} and {n - 2} friends share {n * each} {item} equally. How many does each one get?"
    )
    return ask.replace("and 1 friends", "and 1 friend"), str(each)


def _price(d: Dice) -> Asked:
    name, item, n, price = d.pick(NAMES), d.pick(ITEMS), d.between(2, 9), d.between(2, 9)
    paid = n * price + d.between(1, 20)
    ask = f"{name} buys {n} {item} at {price} euros each and pays with {paid} euros."
    return f"{ask} How many euros does {name} get back?", str(paid - n * price)


def _saved(d: Dice) -> Asked:
    name, a, weeks, start = d.pick(NAMES), d.between(2, 20), d.between(2, 12), d.between(5, 50)
    ask = f"{name} has {start} euros and saves {a} euros a week."
    return f"{ask} How many euros does {name} have after {weeks} weeks?", str(start + a * weeks)


def _twice(d: Dice) -> Asked:
    (a, b), item, n = d.some(NAMES, 2), d.pick(ITEMS), d.between(2, 40)
    ask = f"{a} has {n} {item}. {b} has twice as many. How many {item} do they have together?"
    return ask, str(3 * n)


def _sum(d: Dice) -> Asked:
    a, b, c = d.between(2, 99), d.between(2, 99), d.between(2, 99)
    return f"What is {a} plus {b} plus {c}?", str(a + b + c)


def _largest(d: Dice) -> Asked:
    numbers = d.some(range(10, 1000), 4)
    return f"Which is the largest of the numbers {_joined(numbers)}?", str(max(numbers))


def _alphabet(d: Dice) -> Asked:
    words = d.some(sorted({word for group in GROUPS for word in group}), 4)
    return f"Which of these words comes first in the alphabet: {_joined(words)}?", min(words)


def _odd_one(d: Dice) -> Asked:
    group, other = d.some(GROUPS, 2)
    odd = d.pick(other)
    words = d.some((*d.some(group, 3), odd), 4)
    return f"Which of these words does not belong with the others: {_joined(words)}?", odd


def _review(d: Dice) -> Asked:
    good = d.below(2) == 1
    review = d.pick(_WORDS["praise" if good else "blame"]).replace("{x}", d.pick(_WORDS["events"]))
    ask = f'Is the opinion of {d.pick(NAMES)} positive or negative? "{review}"'
    return ask, "positive" if good else "negative"


def _even(d: Dice) -> Asked:
    n = d.between(10, 9999)
    return f"Is {n} an even number, yes or no?", "no" if n % 2 else "yes"


def _joined(parts: tuple[int, ...] | tuple[str, ...]) -> str:
    return f"{', '.join(map(str, parts[:-1]))} and {parts[-1]}"


NUMBER_QUESTIONS: Final[tuple[Callable[[Dice], Asked], ...]] = (
    _more,
    _fewer,
    _boxes,
    _shared,
    _price,
    _saved,
    _twice,
    _sum,
    _largest,
)
WORD_QUESTIONS: Final[tuple[Callable[[Dice], Asked], ...]] = (_alphabet, _odd_one, _review, _even)
