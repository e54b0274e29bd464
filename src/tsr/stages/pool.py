"""A pool: candidate answers to a set of prompts, wherever they come from."""

from dataclasses import dataclass

from tsr.data.rows import Row
from tsr.selectors import Candidate
from tsr.stage import Stage
from tsr.workbench import Workbench


@dataclass(frozen=True, eq=False, repr=False)
class Pool(Stage):
    """A stage whose artifact is candidates, keyed by (prompt_id, model, draw, sample)."""

    @property
    def each(self) -> int:
        """The most answers to a prompt."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """How rows name who answered."""
        raise NotImplementedError

    def rows(self, bench: Workbench) -> list[Row]:
        """The prompts."""
        raise NotImplementedError

    def read(self, bench: Workbench) -> list[Candidate]:
        """The candidates, without scores."""
        raise NotImplementedError
