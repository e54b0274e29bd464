# ruff: noqa: RUF001 - marks that look alike are meant
"""The constraint of a question that has one right answer."""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Final

from tsr.data.constraints import text
from tsr.data.constraints.base import Constraint

# 1,234.5 and -7; the minus of `10-3` belongs to a subtraction.
_NUMBER: Final = re.compile(
    r"(?<![\w.,])[-−+]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?(?![0-9])"
    r"|(?:(?<![\w)])[-−+])?[0-9]+(?:\.[0-9]+)?"
)
_LABEL: Final = re.compile(r"^(?:the )?(?:final )?answer(?: is)?\s*:?\s*")
_MARKS: Final = " \t.,;:!?\"'*_`()[]"


@dataclass(frozen=True)
class Exact(Constraint):
    """The right answer.

    A number: the last number in the text equals it (7 = 7.0, 1,200 = 1200). Any other: the whole
    text or its last line is the answer, without regard to case, marks and a leading `Answer:`.
    """

    kind: ClassVar[str] = "exact"

    answer: str

    @property
    def is_number(self) -> bool:
        """Whether answers are compared as numbers."""
        return _NUMBER.fullmatch(self.answer.strip()) is not None

    def met(self, answer: str) -> bool:
        """See Constraint."""
        if self.is_number:
            found = _NUMBER.findall(answer)
            return bool(found) and _value(found[-1]) == _value(self.answer.strip())
        last = answer.strip().splitlines()[-1]
        return _bare(self.answer) in (_bare(answer), _bare(last))

    def describe(self) -> str:
        """See Constraint."""
        if self.is_number:
            return "End with the number that is the answer."
        return "Reply with the answer only."


def _value(number: str) -> Decimal:
    return Decimal(number.replace(",", "").replace("−", "-"))


def _bare(answer: str) -> str:
    return _LABEL.sub("", text.folded(answer).strip(_MARKS)).strip(_MARKS)
