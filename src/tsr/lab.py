"""The lab: one iteration's bench. It knows prompts, judge, K and recipes; it only describes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tsr.config import RunConfig
from tsr.judging import Judging, Who
from tsr.selectors import Selector, rules_read
from tsr.settings import Refused
from tsr.stages.dpo import DPO
from tsr.stages.generate import Generate
from tsr.stages.model import Model
from tsr.stages.pair import Pairs
from tsr.stages.prompts import Prompts, Source
from tsr.stages.scores import Scores


@dataclass(frozen=True)
class Anchor:
    """The anchor's answers: a pool of their own even where the anchor is the current model."""

    model: Model


@dataclass(frozen=True)
class Lab:
    """One iteration's bench.

    base: the model before SFT, Mb. lineage: M0 ... Mi.
    """

    config: RunConfig
    judging: Judging
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
    def anchor(self) -> Anchor:
        """The model whose answers may be rejected (variant.anchor; paper: M0)."""
        previous = self.lineage[max(0, self.iteration - 1)]
        choices = {"m0": self.lineage[0], "previous": previous, "base": self.base}
        return Anchor(choices[str(self.config.variant.anchor)])

    def start(self, future: Model | None = None) -> Model:
        """Where the last training of an iteration starts (variant.start; paper: Mi again)."""
        choices = {"current": self.now, "m0": self.lineage[0], "future": future}
        start = choices[self.config.variant.start]
        if start is None:
            raise Refused(
                "variant.start=future: this variant has no future model; must be one of current, m0"
            )
        return start

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

    def pairs(self, chosen: Selector, rejected: Selector, future: Model | None = None) -> Pairs:
        """Pairs of this iteration's prompts, all candidates scored by one judge.

        Without `future` these are phase 1's; with it phase 2's, which may have other prompts
        (variant.phase2_prompts) and another judge (judge.phase2).
        """
        prompts, who = self.prompts(1 if future is None else 2), self._who(future)
        roles: dict[str, str] = {}

        def pool_of(value: Any) -> Any:
            if not isinstance(value, Model | Anchor):
                return value
            pool = self._pool(value, prompts, who)
            roles.setdefault(pool.key, self._role(value))
            return pool

        selectors = (chosen.bind(pool_of), rejected.bind(pool_of))
        return Pairs(*selectors, rules_read(self.config.pairing, *selectors), roles)

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

    def _who(self, future: Model | None) -> Who:
        models = {"current": self.now, "m0": self.lineage[0], "future": future}

        def who(judging: Judging) -> Model:
            judge = models[judging.phase1 if future is None else judging.phase2]
            assert judge is not None, "the schema lets only phase 2 ask for the future model"
            return judge

        return who

    def _pool(self, value: Model | Anchor, prompts: Prompts, who: Who) -> Scores:
        """A model's candidates with their scores."""
        if isinstance(value, Anchor):
            # Where the anchor is the current model itself, a fresh pool is a second draw from it.
            fresh = self.config.variant.anchor_pool == "fresh"
            pool = self.candidates(value.model, prompts, int(fresh and value.model == self.now))
        else:
            pool = self.candidates(value, prompts)
        # The same rivals for every pool, so that win rates of two pools compare.
        rivals, config = self.candidates(self.now, prompts), self.config
        return self.judging.scores(pool, rivals, who, config.seed, config.pairing.aggregate)

    def _role(self, value: Model | Anchor) -> str:
        """What pairs say of where a side comes from."""
        if isinstance(value, Anchor):
            return "anchor"
        if value == self.now:
            return "own"
        return "past" if value in self.lineage else "future"
