"""The lab: one iteration's bench. It knows prompts, judge, K and recipes; it only describes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tsr.config import RunConfig
from tsr.judges.base import Judge
from tsr.selectors import Selector
from tsr.stages.dpo import DPO
from tsr.stages.generate import Generate
from tsr.stages.judge import Judgements
from tsr.stages.model import Model
from tsr.stages.pair import Pairs
from tsr.stages.prompts import Prompts, Source


@dataclass(frozen=True)
class Lab:
    """One iteration's bench.

    base: the model before SFT, Mb. lineage: M0 ... Mi.
    """

    config: RunConfig
    judge: Judge
    source: Source
    against: Source | None
    base: Model
    lineage: Sequence[Model]

    @property
    def iteration(self) -> int:
        """i, counted from 0."""
        return len(self.lineage) - 1

    @property
    def now(self) -> Model:
        """Mi."""
        return self.lineage[-1]

    @property
    def anchor(self) -> Model:
        """The model whose answers may be rejected (variant.anchor; paper: M0)."""
        choices = {"m0": self.lineage[0], "previous": self._previous(), "base": self.base}
        return choices[str(self.config.variant.anchor)]

    def prompts(self, phase: int = 1) -> Prompts:
        """p_i: both phases use the same (paper), unless variant.phase2_prompts=fresh."""
        fresh = self.config.variant.phase2_prompts == "fresh"
        part = 2 * self.iteration + (phase - 1) if fresh else self.iteration
        data = self.config.data
        return Prompts(
            source=self.source,
            part=part,
            size=data.prompts_per_iteration,
            heldout=data.heldout,
            against=self.against,
            duplicates=data.duplicates,
            seed=data.seed,
        )

    def candidates(self, model: Model, prompts: Prompts, draw: int = 0) -> Generate:
        """K answers of a model to each prompt; another `draw` is an independent K."""
        config = self.config
        return Generate(
            model=model,
            prompts=prompts,
            k=config.k,
            draw=draw,
            sampling=config.sampling,
            engine=config.engine,
            seed=config.seed,
        )

    def pairs(self, chosen: Selector, rejected: Selector) -> Pairs:
        """Phase 1: pairs of this iteration's prompts, all candidates scored by one judge."""
        judge = {"current": self.now, "m0": self.lineage[0]}[self.config.judge.phase1]
        return self._pairs(chosen, rejected, self.prompts(1), judge)

    def pairs_after(self, future: Model, chosen: Selector, rejected: Selector) -> Pairs:
        """Phase 2: pairs that may use the future model Mf."""
        judges = {"current": self.now, "m0": self.lineage[0], "future": future}
        judge = judges[self.config.judge.phase2]
        return self._pairs(chosen, rejected, self.prompts(2), judge)

    def dpo(self, start: Model, pairs: Pairs) -> DPO:
        """A model trained from `start` on the pairs, against variant.reference (paper: Mi)."""
        references = {"current": self.now, "m0": self.lineage[0], "start": start}
        return DPO(
            start=start,
            reference=references[self.config.variant.reference],
            pairs=pairs,
            settings=self.config.train.dpo,
            seed=self.config.seed,
        )

    def dpo_after(self, future: Model, pairs: Pairs) -> DPO:
        """The training of phase 2, from variant.start (paper: again from Mi; Mf is thrown away)."""
        starts = {"current": self.now, "m0": self.lineage[0], "future": future}
        return self.dpo(starts[self.config.variant.start], pairs)

    def _previous(self) -> Model:
        return self.lineage[max(0, self.iteration - 1)]

    def _pairs(self, chosen: Selector, rejected: Selector, prompts: Prompts, judge: Model) -> Pairs:
        def scored(role: str, model: Any) -> Judgements:
            return self.scored(model, prompts, judge, self._draw(role, model))

        return Pairs(chosen.bind(scored), rejected.bind(scored), self.config.pairing)

    def scored(self, model: Model, prompts: Prompts, judge: Model, draw: int = 0) -> Judgements:
        """A model's candidates with their judgements."""
        pool = self.candidates(model, prompts, draw)
        if not self.judge.needs_model:
            return Judgements(pool, self.judge, None, None, 0)
        return Judgements(pool, self.judge, judge, self.config.engine, self.config.seed)

    def _draw(self, role: str, model: Model) -> int:
        """Where the anchor is the current model itself, a fresh pool is a second draw from it."""
        fresh = self.config.variant.anchor_pool == "fresh"
        return int(role == "anchor" and model == self.now and fresh)
