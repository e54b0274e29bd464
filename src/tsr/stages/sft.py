"""Supervised fine-tuning: M0 = SFT(Mb, IFT and EFT), the loss on answers only."""

from dataclasses import dataclass
from typing import Any, ClassVar

from tsr.config import SFTConfig
from tsr.data.load import BadData
from tsr.data.rows import Row
from tsr.stages.model import Model
from tsr.stages.prompts import Source
from tsr.stages.trained import Trained
from tsr.training.spread import train
from tsr.training.work import Work
from tsr.workbench import Workbench


@dataclass(frozen=True, eq=False, repr=False)
class SFT(Trained):
    """Algorithm 1, line 1. Rows are instructions with answers (IFT) and judge prompts with
    judgements (EFT)."""

    kind: ClassVar[str] = "sft"
    needs: ClassVar[str] = "sft"

    start: Model
    ift: Source
    eft: Source | None
    settings: SFTConfig
    seed: int

    @property
    def tag(self) -> str:
        """Also which rows and how often: their number is not known before they are read."""
        rows = (self.ift.content, self.ift.revision, self.ift.limit, self.settings.epochs)
        return f"{super().tag} {rows}"

    def produce(self, bench: Workbench) -> dict[str, Any]:
        """Train with TRL's SFTTrainer; see tsr.training.sft."""
        rows = [r for source in (self.ift, self.eft) if source for r in _answered(source)]
        files = self.start.files(bench)
        bench.release()
        objects = [row.as_json() for row in rows]
        return train(bench, Work("sft", (files,), objects, self.settings, self.seed))


def _answered(source: Source) -> list[Row]:
    rows = source.rows(0)
    without = [row.id for row in rows if not row.response]
    if without:
        raise BadData(
            f"{source.kind}: {len(without)} of {len(rows)} rows have no {source.response_field} "
            f"(the first is {without[0]}); SFT needs answers"
        )
    return rows
