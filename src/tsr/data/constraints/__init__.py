"""Checkable constraints of an answer: JSON objects such as {"kind": "max_words", "n": 30}.

They give a score without a model, so they are the ruler by which a judge can itself be measured. An
answer without a letter or digit fulfils no constraint, so silence never earns a point.
"""

from tsr.data.constraints.base import Constraint, as_json
from tsr.data.constraints.conflicts import compatible
from tsr.data.constraints.read import (
    KINDS,
    describe,
    describe_all,
    fulfilled,
    parse,
    share_fulfilled,
)

__all__ = [
    "KINDS",
    "Constraint",
    "as_json",
    "compatible",
    "describe",
    "describe_all",
    "fulfilled",
    "parse",
    "share_fulfilled",
]
