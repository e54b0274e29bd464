"""What a variant is: how one iteration makes the next model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tsr.lab import Lab
from tsr.stages.dpo import DPO
from tsr.stages.model import Model


@dataclass(frozen=True)
class Variant:
    """A method. Fields, if any, are its own settings, given by `variant.options`.

    needs_anchor: whether the method reads answers of an anchor model.
    """

    needs_anchor: ClassVar[bool] = False

    def step(self, lab: Lab, lineage: Sequence[Model]) -> DPO:
        """Describe M_{i+1}, given M0 ... Mi. Nothing is run: the lab returns stages."""
        raise NotImplementedError
