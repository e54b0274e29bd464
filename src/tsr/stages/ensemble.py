"""An ensemble: several judges' scores of one pool become one."""

import statistics
from dataclasses import dataclass
from typing import Any, ClassVar

from tsr.jsonl import write_jsonl
from tsr.selectors import Candidate
from tsr.stage import key_of
from tsr.stages.pool import Pool
from tsr.stages.scores import FILE, Row, Scores, figures
from tsr.workbench import Workbench


@dataclass(frozen=True, eq=False, repr=False)
class Ensemble(Scores):
    """The weighted mean of the members' scores, each on its own scale brought to 0 ... 1.

    names, weights: of the members, in their order.
    A candidate that one of the members has no score of has none: a mean over fewer judges would
    not compare with the others'.
    """

    kind: ClassVar[str] = "ensemble"
    needs: ClassVar[str] = "light"

    members: tuple[Scores, ...]
    names: tuple[str, ...]
    weights: tuple[float, ...]
    aggregate: str

    @property
    def judged(self) -> Pool:
        """The members' pool."""
        return self.members[0].judged

    @property
    def scale(self) -> tuple[float, float]:
        """Shares of the members' scales."""
        return 0.0, 1.0

    @property
    def whose(self) -> str:
        """All members and their weights."""
        members = [member.whose for member in self.members]
        return key_of({"members": members, "weights": list(self.weights)})

    @property
    def count(self) -> int:
        """One score a candidate."""
        return self.judged.count

    def produce(self, bench: Workbench) -> dict[str, Any]:
        """Read the members' scores and average."""
        scored = [m.scored(bench, self.aggregate) for m in self.members]
        rows = [self._row(group) for group in zip(*scored, strict=True)]
        write_jsonl(bench.folder / FILE, rows)
        return figures(rows, self.scale)

    def _row(self, group: tuple[Candidate, ...]) -> Row:
        c, shares = group[0], [_share(m, c) for m, c in zip(self.members, group, strict=True)]
        told = zip(self.names, shares, strict=True)
        text = ", ".join(f"{n}: {'-' if s is None else f'{s:.3f}'}" for n, s in told)
        known = [s for s in shares if s is not None]
        complete = len(known) == len(shares)
        return {
            "prompt_id": c.prompt_id,
            "model": c.model,
            "draw": c.draw,
            "sample": c.sample,
            "judgement": 0,
            "score": statistics.fmean(known, self.weights) if complete else None,
            "text": text,
            "reason": None if complete else "member_missing",
        }


def _share(member: Scores, c: Candidate) -> float | None:
    low, high = member.scale
    return None if c.score is None else (c.score - low) / (high - low)
