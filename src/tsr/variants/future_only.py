"""Future-guided chosen without anchored rejection: the ablation that the paper leaves out."""

from collections.abc import Sequence

from tsr.lab import Lab
from tsr.selectors import BestOf, FutureGuidedChosen, WorstOf
from tsr.stages.dpo import DPO
from tsr.stages.model import Model
from tsr.variants.base import Variant


class FutureOnly(Variant):
    """Phase 2 of Algorithm 1 on top of plain Self-Rewarding."""

    def step(self, lab: Lab, lineage: Sequence[Model]) -> DPO:
        """Mf = DPO(Mi, best, worst); M_{i+1} = DPO(Mi, better of Mf's and Mi's best, worst)."""
        now = lineage[-1]
        future = lab.dpo(now, lab.pairs(BestOf(now), WorstOf(now)))
        chosen = FutureGuidedChosen(future, now)
        return lab.dpo(lab.start(future), lab.pairs(chosen, WorstOf(now), future))
