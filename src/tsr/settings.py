"""How a setting is declared: its help text, its bounds, and whether it changes results."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Final

NEUTRAL: Final = "neutral"
REPRODUCES: Final = "reproduces"


class Refused(ValueError):
    """A setting that cannot be run; one line: the field, its value, what is allowed."""


def setting(
    default: Any = dataclasses.MISSING,
    help: str = "",
    *,
    neutral: bool = False,
    reproduces: Any = dataclasses.MISSING,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    choices: tuple[str, ...] | None = None,
    factory: Any = None,
) -> Any:
    """Declare a dataclass field that is a setting.

    neutral: the value never changes a result (a batch size, a path), so it stays out of the key.
    reproduces: for a field added after results exist: while the field holds this value it stays out
        of the key, so that results made before the field existed stay valid.
    """
    meta: dict[str, Any] = {"help": help, NEUTRAL: neutral, "choices": choices}
    meta |= {"ge": ge, "gt": gt, "le": le, "lt": lt}
    if reproduces is not dataclasses.MISSING:
        meta[REPRODUCES] = reproduces
    if factory is not None:
        return field(default_factory=factory, metadata=meta)
    return field(default=default, metadata=meta)


@dataclass
class Section:
    """A group of settings. Checked by `check`; a plain value object from then on, never changed."""

    def check(self, path: str = "") -> None:
        """Raise Refused for the first setting out of its bounds, naming it by its dotted path."""
        for f in dataclasses.fields(self):
            name = f"{path}.{f.name}" if path else f.name
            value = getattr(self, f.name)
            if isinstance(value, Section):
                value.check(name)
            elif value is not None:
                _check_bounds(name, value, f.metadata)


_SIGNS: Final = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
_HOLDS: Final = {
    "ge": lambda v, b: v >= b,
    "gt": lambda v, b: v > b,
    "le": lambda v, b: v <= b,
    "lt": lambda v, b: v < b,
}


def _check_bounds(name: str, value: Any, meta: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise Refused(f"{name}={value}: must be a finite number")
    bounds = [(s, meta.get(s)) for s in _SIGNS if meta.get(s) is not None]
    if not all(_HOLDS[sign](value, bound) for sign, bound in bounds):
        allowed = " and ".join(f"{_SIGNS[s]} {b}" for s, b in bounds)
        raise Refused(f"{name}={value}: must be {allowed}")
    choices = meta.get("choices")
    if choices and value not in choices:
        raise Refused(f"{name}={value}: must be one of {', '.join(choices)}")
