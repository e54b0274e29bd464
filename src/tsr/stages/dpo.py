"""Direct preference optimisation of one model on pairs (Rafailov et al., 2305.18290; Eq. 6)."""

from dataclasses import dataclass
from typing import Any, ClassVar

from tsr.config import DPOConfig
from tsr.stages.model import Model
from tsr.stages.pair import Pairs
from tsr.stages.trained import Trained
from tsr.training.outcome import NoPairs
from tsr.training.spread import train
from tsr.training.work import Work
from tsr.workbench import Workbench


@dataclass(frozen=True, eq=False, repr=False)
class DPO(Trained):
    """The policy starts from `start`; `reference` stays frozen."""

    kind: ClassVar[str] = "dpo"
    needs: ClassVar[str] = "dpo"

    start: Model
    reference: Model
    pairs: Pairs
    settings: DPOConfig
    seed: int

    @property
    def count(self) -> int:
        """At most one pair per prompt and epoch."""
        return self.pairs.count * self.settings.epochs

    def produce(self, bench: Workbench) -> dict[str, Any]:
        """Train with TRL's DPOTrainer; see tsr.training.dpo."""
        rows = self.pairs.read(bench)
        if not rows:
            raise NoPairs(f"{self.pairs.label}: no prompt gave a pair ({self._why(bench)})")
        models = self.start.files(bench), self.reference.files(bench)
        bench.release()
        return train(bench, Work("dpo", models, rows, self.settings, self.seed))

    def _why(self, bench: Workbench) -> str:
        dropped = bench.figures(self.pairs)["dropped"]
        counts = ", ".join(f"{reason}: {n}" for reason, n in dropped.items())
        return f"{counts}; more prompts, a larger k, or another judge or scoring would help"
