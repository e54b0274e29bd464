"""Constraints from JSON, and what is asked of them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final, get_type_hints

from tsr.data.constraints import layout, length, text, wording
from tsr.data.constraints.base import Constraint
from tsr.data.constraints.exact import Exact
from tsr.data.constraints.language import Language
from tsr.settings import Refused

KINDS: Final[dict[str, type[Constraint]]] = {
    kind.kind: kind
    for kind in (
        length.MinWords,
        length.MaxWords,
        length.Sentences,
        length.Paragraphs,
        layout.Bullets,
        layout.Numbered,
        layout.JsonObject,
        layout.Quoted,
        layout.LowerCase,
        layout.UpperCase,
        layout.TitleCase,
        layout.NoCommas,
        layout.Question,
        wording.Includes,
        wording.Excludes,
        wording.WordTimes,
        wording.StartsWith,
        wording.EndsWith,
        wording.Letter,
        wording.Digits,
        wording.Number,
        Language,
        Exact,
    )
}


def parse(obj: Mapping[str, Any]) -> Constraint:
    """The constraint that a JSON object describes; Refused for one that cannot be checked."""
    if not isinstance(obj, Mapping):
        raise Refused(f"constraint {obj!r}: must be an object with a kind")
    kind = KINDS.get(str(obj.get("kind")))
    if kind is None:
        raise Refused(f"constraint kind={obj.get('kind')!r}: must be one of {', '.join(KINDS)}")
    names = [f.name for f in dataclasses.fields(kind)]
    given = {name: value for name, value in obj.items() if name != "kind"}
    if set(given) != set(names):
        takes, has = ", ".join(names) or "no parameters", ", ".join(given) or "none"
        raise Refused(f"constraint {kind.kind}: takes {takes}, got {has}")
    hints = get_type_hints(kind)
    constraint = kind(**{n: _typed(f"{kind.kind}.{n}", v, hints[n]) for n, v in given.items()})
    constraint.check()
    return constraint


def _typed(name: str, value: Any, hint: Any) -> Any:
    if hint is int and type(value) is int and value >= 1:
        return value
    if hint is str and isinstance(value, str):
        return value
    if hint == tuple[str, ...] and isinstance(value, list | tuple) and value:
        return tuple(_typed(name, part, str) for part in value)
    allowed = {int: "a whole number of at least 1", str: "a text"}.get(hint, "a list of texts")
    raise Refused(f"constraint {name}={value!r}: must be {allowed}")


def fulfilled(constraint: Constraint, answer: str) -> bool:
    """Whether an answer keeps to a constraint; one without a letter or digit keeps to none."""
    return text.says_something(answer) and constraint.met(answer)


def share_fulfilled(constraints: Sequence[Constraint], answer: str) -> float:
    """The share of the constraints that an answer fulfils. No constraints have no share."""
    if not constraints:
        raise ValueError("no constraints, so no share of them")
    return sum(fulfilled(c, answer) for c in constraints) / len(constraints)


def describe(constraint: Constraint) -> str:
    """The English sentence that asks for a constraint in a prompt."""
    return constraint.describe()


def describe_all(constraints: Sequence[Constraint]) -> str:
    """The sentences of several constraints, in their order."""
    return " ".join(map(describe, constraints))
