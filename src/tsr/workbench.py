"""What a stage gets to work with: a folder to fill, its inputs' folders, engines, progress."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tsr.config import EngineConfig
from tsr.engines.base import Engine, ModelFiles
from tsr.stage import Sibling, Stage


class Progress(Protocol):
    """A counter that a person can see."""

    def advance(self, amount: int = 1) -> None:
        """So much more is done."""


@dataclass(frozen=True)
class Part:
    """Which blocks of a stage's work a worker does: every `of`-th, from `index` on."""

    index: int = 0
    of: int = 1

    def has(self, number: int) -> bool:
        """Whether the block with this number is among them."""
        return number % self.of == self.index


@dataclass(frozen=True)
class Spread:
    """How many processes a training has: per node, on how many nodes, sharing in which way.

    strategy: see resources.training.strategy.
    """

    processes: int = 1
    nodes: int = 1
    strategy: str = "ddp"

    @property
    def total(self) -> int:
        """Processes on all nodes."""
        return self.processes * self.nodes


class Workbench(Protocol):
    """Given to `Stage.produce` by the executor."""

    @property
    def folder(self) -> Path:
        """Where the artifact is written. After a kill it still holds what was there."""

    @property
    def part(self) -> Part:
        """Which blocks of the work are to be done here: all, but for a share."""

    @property
    def spread(self) -> Spread:
        """Over which processes a training is to be spread."""

    @property
    def first(self) -> int | None:
        """The first sample that finished shares of this stage made; None where there are none."""

    def only(self, part: Part) -> "Workbench":
        """The same bench, for a part of the blocks."""

    def has(self, stage: Stage | Sibling) -> bool:
        """Whether it is finished."""

    def artifact(self, stage: Stage | Sibling) -> Path:
        """The folder of a finished input, its files checked against their hashes."""

    def figures(self, stage: Stage) -> dict[str, Any]:
        """What a finished stage's `produce` returned."""

    def engine(self, config: EngineConfig, model: ModelFiles) -> Engine:
        """An engine with the model loaded, kept warm from stage to stage."""

    def release(self) -> None:
        """Free all engines' memory, before training."""

    def progress(self, what: str, total: int, done: int = 0) -> AbstractContextManager[Progress]:
        """Show how far `what` is."""
