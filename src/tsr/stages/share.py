"""A share of a stage: some of its blocks, done by a worker of their own and put together later."""

import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tsr.stage import Stage
from tsr.stages.blocks import BLOCKS
from tsr.workbench import Part, Workbench


class Splittable(Stage):
    """A stage whose work is blocks that do not need each other."""

    @property
    def blocks(self) -> int:
        """How many blocks there are at most; with 1 there is nothing to split."""
        raise NotImplementedError

    def work(self, bench: Workbench) -> int:
        """Do the bench's part of the blocks, and nothing more. Returns how many rows they hold."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False, repr=False)
class Share(Stage):
    """Blocks `index`, `index + of`, ... of a stage.

    How a stage is split says nothing about its result, so shares are no inputs of it: its own key
    stays the same, and they are removed once it is there.
    """

    kind: ClassVar[str] = "share"

    whole: Splittable
    index: int
    of: int

    @property
    def inputs(self) -> tuple[Stage, ...]:
        """What the whole is made from."""
        return self.whole.inputs

    @property
    def count(self) -> int:
        """Its part of the whole's."""
        return math.ceil(self.whole.count / self.of)

    @property
    def tag(self) -> str:
        """Like the whole's, whose kind it names: so the whole's time can be told from shares'."""
        return f"{self.whole.kind} {self.whole.tag}"

    @property
    def job(self) -> str:
        """The whole's."""
        return self.whole.job

    def produce(self, bench: Workbench) -> dict[str, Any]:
        """Write the blocks into `blocks/`."""
        (bench.folder / BLOCKS).mkdir(exist_ok=True)
        return {"units": self.whole.work(bench.only(Part(self.index, self.of)))}


def shares_of(stage: Stage, most: int) -> tuple[Share, ...]:
    """The stage in at most `most` shares; none where one worker would do all."""
    if not isinstance(stage, Splittable):
        return ()
    of = min(most, stage.blocks)
    return tuple(Share(stage, index, of) for index in range(of)) if of > 1 else ()


def take_over(blocks: Path, folder: Path) -> None:
    """Put the blocks of a finished share into the whole's folder; without a copy, if it can be."""
    (folder / BLOCKS).mkdir(exist_ok=True)
    for block in blocks.glob("*.jsonl"):
        target = folder / BLOCKS / block.name
        if not target.exists():
            _link_or_copy(block, target)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a filesystem without hard links
        draft = target.with_suffix(".copy")
        shutil.copy2(source, draft)
        draft.replace(target)
