"""Self-Rewarding (Yuan et al., arXiv 2401.10020): best against worst of the model's own answers."""

from collections.abc import Sequence

from tsr.lab import Lab
from tsr.selectors import BestOf, WorstOf
from tsr.stages.dpo import DPO
from tsr.stages.model import Model
from tsr.variants.base import Variant


class SelfRewarding(Variant):
    """The baseline."""

    def step(self, lab: Lab, lineage: Sequence[Model]) -> DPO:
        """M_{i+1} = DPO(Mi, best of Mi against worst of Mi)."""
        now = lineage[-1]
        return lab.dpo(lab.start(), lab.pairs(BestOf(now), WorstOf(now)))
