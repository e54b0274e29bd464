"""Seeded noise on a judge's scores: what a method bears, without asking the judge anew."""

import dataclasses
import random
from dataclasses import dataclass
from typing import Any, ClassVar

from tsr.config import NoiseConfig
from tsr.jsonl import write_jsonl
from tsr.seeds import seed_of
from tsr.stage import key_of
from tsr.stages.pool import Pool
from tsr.stages.scores import FILE, KEYS, Row, Scores, figures
from tsr.workbench import Workbench


@dataclass(frozen=True, eq=False, repr=False)
class Noisy(Scores):
    """The same judgements with noise on each: normal, mirrored on the scale, or gone.

    The noise of a judgement depends on the seed, the judge and what is judged alone, so those
    dropped at one rate are among those dropped at a higher one. What was missing stays missing.
    """

    kind: ClassVar[str] = "noise"
    needs: ClassVar[str] = "light"

    scores: Scores
    noise: NoiseConfig

    @property
    def judged(self) -> Pool:
        """The pool underneath."""
        return self.scores.judged

    @property
    def scale(self) -> tuple[float, float]:
        """Unchanged."""
        return self.scores.scale

    @property
    def by_candidate(self) -> bool:
        """Unchanged."""
        return self.scores.by_candidate

    @property
    def whose(self) -> str:
        """The judge with its noise."""
        return key_of({"scores": self.scores.whose, "noise": dataclasses.asdict(self.noise)})

    @property
    def count(self) -> int:
        """As many judgements."""
        return self.scores.count

    def produce(self, bench: Workbench) -> dict[str, Any]:
        """Copy the judgements, each with its noise."""
        rows = [self._noisy(row) for row in self.scores.rows(bench)]
        write_jsonl(bench.folder / FILE, rows)
        return figures(rows, self.scale, self.by_candidate)

    def _noisy(self, row: Row) -> Row:
        if row["score"] is None:
            return row
        noise, (low, high) = self.noise, self.scale
        rng = random.Random(
            seed_of(noise.seed, "noise", self.scores.whose, *(row[name] for name in KEYS))
        )
        drop, flip, shift = rng.random(), rng.random(), rng.gauss(0, 1)
        if drop < noise.drop:
            return row | {"score": None, "reason": "noise"}
        score = low + high - row["score"] if flip < noise.flip else row["score"]
        return row | {"score": min(high, max(low, score + noise.sd * shift))}
