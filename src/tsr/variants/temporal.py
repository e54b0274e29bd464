"""Temporal Self-Rewarding (arXiv 2508.06026, Algorithm 1)."""

from collections.abc import Sequence

from tsr.lab import Lab
from tsr.selectors import AnchoredRejection, BestOf, FutureGuidedChosen
from tsr.stages.dpo import DPO
from tsr.stages.model import Model
from tsr.variants.base import Variant


class Temporal(Variant):
    """Rejected from the past, chosen from the future."""

    needs_anchor = True

    def step(self, lab: Lab, lineage: Sequence[Model]) -> DPO:
        """Phase 1 makes the temporary Mf; phase 2 makes M_{i+1}, again from Mi."""
        now = lineage[-1]
        rejected = AnchoredRejection(lab.anchor, now)
        future = lab.dpo(now, lab.pairs(BestOf(now), rejected))
        chosen = FutureGuidedChosen(future, now)
        return lab.dpo(lab.start(future), lab.pairs(chosen, rejected, future))
