"""What a stage gets to work with: a folder to fill, its inputs' folders, engines, progress."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from tsr.config import EngineConfig
from tsr.engines.base import Engine, ModelFiles
from tsr.stage import Sibling, Stage


class Progress(Protocol):
    """A counter that a person can see."""

    def advance(self, amount: int = 1) -> None:
        """So much more is done."""


class Workbench(Protocol):
    """Given to `Stage.produce` by the executor."""

    @property
    def folder(self) -> Path:
        """Where the artifact is written. After a kill it still holds what was there."""

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
