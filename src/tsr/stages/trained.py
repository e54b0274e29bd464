"""What SFT and DPO have in common: a model that was trained from another one."""

from dataclasses import replace
from typing import Any, ClassVar

from tsr.engines.base import ModelFiles
from tsr.stages.model import Model, Pretrained
from tsr.training.outcome import ADAPTER, CHECKPOINT, TRAINER
from tsr.workbench import Workbench


class Trained(Model):
    """Writes `adapter/` (method=lora) or `model/` (method=full), and `training.jsonl`.

    Its kinds declare `start` and `settings` as fields, each in its own order.
    """

    scratch: ClassVar[tuple[str, ...]] = (TRAINER,)

    start: Model
    settings: Any

    @property
    def base(self) -> Pretrained:
        """The pretrained model underneath."""
        return self.start.base

    @property
    def checkpoint(self) -> Model:
        """Itself if all weights were trained; else what the adapter lies on."""
        return self if self.settings.method == "full" else self.start.checkpoint

    @property
    def tag(self) -> str:
        """Base model, method, precision."""
        return f"{self.base.key[:8]} {self.settings.method} {self.settings.precision}"

    def files(self, bench: Workbench) -> ModelFiles:
        """The checkpoint made here, or the adapter made here on the checkpoint underneath."""
        folder, trusted = bench.artifact(self), self.base.trust_remote_code
        if self.settings.method == "full":
            place, family = folder / CHECKPOINT, self.base.key
            return ModelFiles(self.key, place, trust_remote_code=trusted, family=family)
        below = self.checkpoint.files(bench)
        return replace(below, name=self.key, adapter=folder / ADAPTER)
