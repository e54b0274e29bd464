"""How good a judge is, against answers that people have ranked."""

from tsr.quality.bootstrap import Estimate
from tsr.quality.comparisons import Comparison, OrderEffect
from tsr.quality.labelled import LabelledAnswer, Question, distinct, read_all, read_labelled
from tsr.quality.measures import measure
from tsr.quality.plot import plot
from tsr.quality.render import as_json, table
from tsr.quality.result import Group, Quality

__all__ = [
    "Comparison",
    "Estimate",
    "Group",
    "LabelledAnswer",
    "OrderEffect",
    "Quality",
    "Question",
    "as_json",
    "distinct",
    "measure",
    "plot",
    "read_all",
    "read_labelled",
    "table",
]
