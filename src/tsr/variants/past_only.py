"""Temporal Self-Rewarding without the future model (arXiv 2508.06026, Table 2)."""

from collections.abc import Sequence

from tsr.lab import Lab
from tsr.selectors import AnchoredRejection, BestOf
from tsr.stages.dpo import DPO
from tsr.stages.model import Model
from tsr.variants.base import Variant


class PastOnly(Variant):
    """Anchored rejection only: phase 1 of Algorithm 1 makes the next model."""

    needs_anchor = True

    def step(self, lab: Lab, lineage: Sequence[Model]) -> DPO:
        """M_{i+1} = DPO(Mi, best of Mi against the worse of M0 and Mi)."""
        now = lineage[-1]
        return lab.dpo(lab.start(), lab.pairs(BestOf(now), AnchoredRejection(lab.anchor, now)))
