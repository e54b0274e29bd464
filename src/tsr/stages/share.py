"""A share of a stage: some of its blocks, done by a worker of their own and put together later."""

import math
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tsr.stage import Stage
from tsr.stages.blocks import BLOCKS
from tsr.stages.siblings import ShareError
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


def shares_root(stage: Stage) -> str:
    """Under which name the store keeps the shares of a stage from being thrown away."""
    return f"shares-{stage.key[:12]}"


def first_of(blocks: Sequence[Path]) -> int:
    """The first sample in the blocks of finished shares, which their names tell.

    Raises ShareError where shares disagree: a sibling came to be between the one and the other.
    """
    names = [re.match(r"from(\d+)-", block.name) for block in blocks]
    found = {int(name[1]) if name else 0 for name in names}
    if len(found) > 1:
        raise ShareError("its shares began at different samples; run the command again")
    return found.pop() if found else 0


def take_over(blocks: Sequence[Path], folder: Path) -> None:
    """Put blocks of finished shares into the whole's folder; without a copy, if it can be."""
    (folder / BLOCKS).mkdir(exist_ok=True)
    for block in blocks:
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
