"""Judging: n judgements of each candidate of a pool by one judge."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from tsr.config import EngineConfig
from tsr.engines.base import Answer
from tsr.jsonl import read_jsonl, write_jsonl
from tsr.judges.base import Case, Judge, Verdict
from tsr.seeds import seed_of
from tsr.selectors import Candidate
from tsr.stage import Stage
from tsr.stages.blocks import BLOCKS, in_blocks
from tsr.stages.generate import Generate, by_length
from tsr.stages.model import Model
from tsr.workbench import Workbench

Row = dict[str, Any]


@dataclass(frozen=True, eq=False, repr=False)
class Judgements(Stage):
    """Writes `judgements.jsonl`, keyed by (prompt_id, model, draw, sample, judgement).

    model: who judges, or None for a judge that needs no model.
    A judgement that cannot be read or is out of scale has score null and a reason.
    """

    kind: ClassVar[str] = "judge"
    scratch: ClassVar[tuple[str, ...]] = (BLOCKS,)

    pool: Generate
    judge: Judge
    model: Model | None
    engine: EngineConfig | None
    seed: int

    @property
    def count(self) -> int:
        """How many judgements are asked for."""
        return self.pool.count * self.judge.n

    @property
    def companions(self) -> tuple[Stage, ...]:
        """Whoever reads scores reads the candidates."""
        return (self.pool,)

    @property
    def tag(self) -> str:
        """Judge, base model, engine, precision."""
        if self.model is None or self.engine is None:
            return type(self.judge).__name__
        scoring = getattr(self.judge, "scoring", "")
        name = f"{type(self.judge).__name__} {scoring} {self.model.base.key[:8]}"
        return f"{name} {self.engine.name} {self.engine.dtype}"

    def produce(self, bench: Workbench) -> dict[str, Any]:
        """Judge every candidate, in blocks where a model is asked."""
        cases = self._cases(bench)
        rows = self._asked(bench, cases) if self.model else self._read_off(cases)
        rows.sort(key=lambda r: (r["prompt_id"], r["sample"], r["judgement"]))
        write_jsonl(bench.folder / "judgements.jsonl", rows)
        return figures(rows, self.judge)

    def scored(self, bench: Workbench, aggregate: str) -> list[Candidate]:
        """The pool's candidates with their scores: the mean or median of the valid judgements."""
        values: dict[tuple[str, int], list[float]] = defaultdict(list)
        texts: dict[tuple[str, int], str] = {}
        for row in read_jsonl(bench.artifact(self) / "judgements.jsonl"):
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
            for c in self.pool.read(bench)
        ]

    def _cases(self, bench: Workbench) -> dict[str, tuple[Case, Candidate]]:
        prompts = {row.id: row for row in self.pool.prompts.read(bench)}
        cases = {}
        for c in self.pool.read(bench):
            row, name = prompts[c.prompt_id], f"{c.prompt_id}/{c.sample}"
            cases[name] = (Case(name, row.prompt, tuple(row.constraints), c.text), c)
        return cases

    def _asked(self, bench: Workbench, cases: dict[str, tuple[Case, Candidate]]) -> list[Row]:
        assert self.model is not None
        assert self.engine is not None
        engine = bench.engine(self.engine, self.model.files(bench))
        requests = [self.judge.request(case, self._seeds(c)) for case, c in cases.values()]

        def work(block: Sequence[Any]) -> list[Row]:
            answers = engine.answer(block)
            return [self._row(*cases[a.request], a.sample, a) for a in answers]

        size = max(1, self.engine.block // self.judge.n)
        what = f"{self.label}: candidates"
        return in_blocks(bench, what, by_length(engine, requests), size, work)

    def _read_off(self, cases: dict[str, tuple[Case, Candidate]]) -> list[Row]:
        return [self._row(case, c, 0, None) for case, c in cases.values()]

    def _seeds(self, c: Candidate) -> tuple[int, ...]:
        assert self.model is not None
        name = (self.seed, "judge", self.model.key, c.prompt_id, c.model, c.draw, c.sample)
        return tuple(seed_of(*name, j) for j in range(self.judge.n))

    def _in_scale(self, verdict: Verdict) -> Verdict:
        """Whatever a judge says, a score off its scale is missing."""
        if verdict.score is None or self.judge.low <= verdict.score <= self.judge.high:
            return verdict
        return replace(verdict, score=None, reason="out_of_scale")

    def _row(self, case: Case, c: Candidate, judgement: int, answer: Answer | None) -> Row:
        verdict = self._in_scale(self.judge.read(case, answer))
        return {
            "prompt_id": c.prompt_id,
            "model": c.model,
            "draw": c.draw,
            "sample": c.sample,
            "judgement": judgement,
            "score": verdict.score,
            "text": verdict.text,
            "reason": verdict.reason,
        }


def figures(rows: Iterable[Row], judge: Judge) -> dict[str, Any]:
    """Counts of a pool's judgements; the histogram has ten equal bins over the judge's scale."""
    rows = list(rows)
    scores = [r["score"] for r in rows if r["score"] is not None]
    return {
        "units": len(rows),
        "judgements": len(rows),
        "valid": len(scores),
        "missing": dict(Counter(r["reason"] for r in rows if r["score"] is None)),
        "mean": statistics.fmean(scores) if scores else None,
        "error": _standard_error(rows),
        "scale": [judge.low, judge.high],
        "histogram": histogram(scores, judge.low, judge.high),
    }


def _standard_error(rows: Sequence[Row]) -> float | None:
    """Of the mean, in score units. Answers to one prompt are alike, so prompts are counted."""
    by_prompt: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row["score"] is not None:
            by_prompt[row["prompt_id"]].append(row["score"])
    means = [statistics.fmean(scores) for scores in by_prompt.values()]
    return statistics.stdev(means) / len(means) ** 0.5 if len(means) > 1 else None


def histogram(scores: Sequence[float], low: float, high: float, bins: int = 10) -> list[int]:
    """How many scores fall in each of `bins` equal parts of the scale; the last holds `high`."""
    counts = [0] * bins
    for score in scores:
        counts[min(bins - 1, int((score - low) / (high - low) * bins))] += 1
    return counts
