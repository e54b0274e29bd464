"""Scores: what is known of how good a pool's candidates are, whoever said so."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tsr.histogram import histogram
from tsr.jsonl import read_jsonl
from tsr.selectors import Candidate
from tsr.stage import Stage
from tsr.stages.pool import Pool
from tsr.workbench import Workbench

Row = dict[str, Any]
FILE = "judgements.jsonl"
# What a judgement is a judgement of.
KEYS = ("prompt_id", "model", "draw", "sample", "judgement")


@dataclass(frozen=True, eq=False, repr=False)
class Scores(Stage):
    """Writes `judgements.jsonl`, keyed by (prompt_id, model, draw, sample, judgement).

    A row has a score, or null and the reason why there is none, and the judge's text.
    Each kind declares `pool`, or says what it is.
    """

    @property
    def judged(self) -> Pool:
        """Whose candidates are scored."""
        raise NotImplementedError

    @property
    def scale(self) -> tuple[float, float]:
        """Lowest and highest score that there can be."""
        raise NotImplementedError

    @property
    def whose(self) -> str:
        """A hash of who scores and how, whatever is scored."""
        raise NotImplementedError

    @property
    def by_candidate(self) -> bool:
        """Whether only the mean over a candidate's judgements is a score; see `figures`."""
        return False

    @property
    def companions(self) -> tuple[Stage, ...]:
        """Whoever reads scores reads the candidates."""
        return (self.judged,)

    def rows(self, bench: Workbench) -> list[Row]:
        """The finished judgements."""
        return list(read_jsonl(bench.artifact(self) / FILE))

    def scored(self, bench: Workbench, aggregate: str) -> list[Candidate]:
        """The pool's candidates with their scores: the mean or median of the valid judgements."""
        values: dict[tuple[str, int], list[float]] = defaultdict(list)
        texts: dict[tuple[str, int], str] = {}
        for row in self._counting(self.rows(bench)):
            key = (row["prompt_id"], row["sample"])
            texts.setdefault(key, row["text"])
            if row["score"] is not None:
                values[key].append(row["score"])
        center: Any = {"mean": statistics.fmean, "median": statistics.median}[aggregate]
        scores = {key: center(scores) for key, scores in values.items()}
        return [
            replace(
                c,
                score=scores.get((c.prompt_id, c.sample)),
                judgement=texts.get((c.prompt_id, c.sample)),
            )
            for c in self.judged.read(bench)
        ]

    def _counting(self, rows: Sequence[Row]) -> Sequence[Row]:
        """A comparison counts where both orders gave a verdict: in one of them alone, a judge's
        liking for a place would decide."""
        if not self.by_candidate:
            return rows
        lacking = {_compared(row) for row in rows if row["score"] is None}
        return [row | {"score": None} if _compared(row) in lacking else row for row in rows]


def _compared(row: Row) -> tuple[Any, ...]:
    return (*(row[name] for name in KEYS[:-1]), row.get("against"))


def figures(
    rows: Iterable[Row], scale: tuple[float, float], by_candidate: bool = False
) -> dict[str, Any]:
    """Counts of a pool's judgements; the histogram has ten equal bins over the scale.

    by_candidate: whether it counts candidates by their means, and not judgements: a comparison is
    won or lost, and only the win rate is a score.
    """
    rows = list(rows)
    scores = [r["score"] for r in rows if r["score"] is not None]
    binned = _means(rows) if by_candidate else scores
    return {
        "units": len(rows),
        "judgements": len(rows),
        "valid": len(scores),
        "missing": dict(Counter(r["reason"] for r in rows if r["score"] is None)),
        "mean": statistics.fmean(scores) if scores else None,
        "error": _standard_error(rows),
        "scale": list(scale),
        "histogram": histogram(binned, *scale),
    }


def _means(rows: Sequence[Row]) -> list[float]:
    by_candidate: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    for row in rows:
        if row["score"] is not None:
            by_candidate[tuple(row[name] for name in KEYS[:-1])].append(row["score"])
    return [statistics.fmean(scores) for scores in by_candidate.values()]


def _standard_error(rows: Sequence[Row]) -> float | None:
    """Of the mean, in score units. Answers to one prompt are alike, so prompts are counted."""
    by_prompt: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row["score"] is not None:
            by_prompt[row["prompt_id"]].append(row["score"])
    means = [statistics.fmean(scores) for scores in by_prompt.values()]
    return statistics.stdev(means) / len(means) ** 0.5 if len(means) > 1 else None
