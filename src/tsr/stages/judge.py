"""Judging: what one judge says of each candidate of a pool."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, ClassVar

from tsr.config import EngineConfig
from tsr.engines.base import Answer, Engine, Request
from tsr.jsonl import write_jsonl
from tsr.judges.base import Case, Judge, Question, Verdict
from tsr.seeds import seed_of
from tsr.selectors import Candidate
from tsr.settings import setting
from tsr.stage import Sibling, key_of
from tsr.stages.blocks import BLOCKS, in_blocks
from tsr.stages.generate import Generate, by_length
from tsr.stages.model import Model
from tsr.stages.pool import Pool
from tsr.stages.scores import FILE, KEYS, Row, Scores, figures
from tsr.stages.share import Splittable
from tsr.stages.siblings import known_rows
from tsr.workbench import Workbench

# A candidate that a judge has nothing to compare with: its row says so.
UNASKED = Question(())
# What blocks remember beside the rows: prompt tokens sent, and those known from a shared prefix.
_SENT, _CACHED = "prompt_tokens", "cached_tokens"


@dataclass(frozen=True)
class _Asked:
    """A question about a candidate; `number` is its place among those about it."""

    case: Case
    candidate: Candidate
    question: Question
    number: int


@dataclass(frozen=True, eq=False, repr=False)
class Judgements(Scores, Splittable):
    """One judge's verdicts, n for each candidate and question.

    model: who judges, or None for a judge that needs no model.
    rivals: whose answers candidates are compared with, for a judge that compares.
    A judgement that cannot be read or is out of scale has score null and a reason.
    """

    kind: ClassVar[str] = "judge"
    scratch: ClassVar[tuple[str, ...]] = (BLOCKS,)

    pool: Pool
    judge: Judge
    model: Model | None
    engine: EngineConfig | None
    seed: int
    rivals: Pool | None = setting(None, reproduces=None)

    @property
    def judged(self) -> Pool:
        """The pool."""
        return self.pool

    @property
    def scale(self) -> tuple[float, float]:
        """The judge's."""
        return self.judge.low, self.judge.high

    @property
    def whose(self) -> str:
        """Judge, judging model, engine and seed."""
        recipe = self.recipe()
        return key_of({k: v for k, v in recipe.items() if k not in ("pool", "rivals")})

    @property
    def by_candidate(self) -> bool:
        """Of comparisons."""
        return self.judge.compares

    @property
    def count(self) -> int:
        """How many judgements are asked for."""
        # An answer is no rival of its own.
        others = self.rivals.each - (self.rivals == self.pool) if self.rivals else 0
        return self.pool.count * self.judge.asked(others)

    @property
    def job(self) -> str:
        """See Stage.job."""
        served = self.engine is not None and self.engine.name == "openai"
        return "light" if self.model is None or served else "judge"

    @cached_property
    def siblings(self) -> tuple[Sibling, ...]:
        """The same judgements of a pool with another K; rivals would be others."""
        if self.rivals is not None or not isinstance(self.pool, Generate):
            return ()
        recipe, each = self.recipe(), self.judge.asked(0)
        return tuple(
            replace(s, kind=self.kind, key=_key(recipe, s), count=s.count * each)
            for s in self.pool.siblings
        )

    @property
    def tag(self) -> str:
        """Judge, base model, engine, precision."""
        if self.model is None or self.engine is None:
            return type(self.judge).__name__
        scoring = getattr(self.judge, "scoring", "")
        name = f"{type(self.judge).__name__} {scoring} {self.model.base.key[:8]}"
        return f"{name} {self.engine.name} {self.engine.dtype}"

    def produce(self, bench: Workbench) -> dict[str, Any]:
        """Take what a sibling has, and judge the other candidates, in blocks."""
        first, rows = known_rows(bench, self, self.pool.each, FILE)
        asked = self._asked(bench, first)
        made = self._answered(bench, asked, first) if self.model else self._read_off(asked)
        tokens = {name: sum(r.pop(name, 0) for r in made) for name in (_SENT, _CACHED)}
        rows = sorted(rows + made, key=lambda r: [r[name] for name in KEYS])
        write_jsonl(bench.folder / FILE, rows)
        found = figures(rows, self.scale, self.by_candidate)
        return found | tokens | {"units": len(made), "reused": len(rows) - len(made)}

    @property
    def blocks(self) -> int:
        """Of questions; as many as are asked for, since their number is known only later."""
        return 1 if self.engine is None else math.ceil(self.count / self.engine.block)

    def work(self, bench: Workbench) -> int:
        """See Splittable."""
        first, _ = known_rows(bench, self, self.pool.each, FILE)
        return len(self._answered(bench, self._asked(bench, first), first))

    def _asked(self, bench: Workbench, first: int) -> list[_Asked]:
        """All questions about samples from number `first` on."""
        cases, rivals = self._cases(bench, self.pool), self._rivals(bench)
        return [
            _Asked(case, c, question, number)
            for case, c in cases
            if c.sample >= first
            for number, question in enumerate(self._questions(case, rivals[c.prompt_id]))
        ]

    def _questions(self, case: Case, rivals: Sequence[Case]) -> Sequence[Question]:
        return self.judge.questions(case, rivals) or [UNASKED]

    def _cases(self, bench: Workbench, pool: Pool) -> list[tuple[Case, Candidate]]:
        prompts = {row.id: row for row in pool.rows(bench)}
        cases = []
        for c in pool.read(bench):
            row, name = prompts[c.prompt_id], f"{c.prompt_id}/{c.model}/{c.draw}/{c.sample}"
            cases.append((Case(name, row.prompt, tuple(row.constraints), c.text), c))
        return cases

    def _rivals(self, bench: Workbench) -> Mapping[str, Sequence[Case]]:
        rivals: dict[str, list[Case]] = defaultdict(list)
        for case, c in self._cases(bench, self.rivals) if self.rivals else ():
            rivals[c.prompt_id].append(case)
        return rivals

    def _read_off(self, asked: Sequence[_Asked]) -> list[Row]:
        return [_row(a, 0, self.judge.read(a.case, None), self.scale) for a in asked]

    def _answered(self, bench: Workbench, asked: Sequence[_Asked], first: int) -> list[Row]:
        assert self.model is not None
        assert self.engine is not None
        unasked = [a for a in asked if a.question is UNASKED]
        rows = [_row(a, 0, Verdict(None, reason="no_rival"), self.scale) for a in unasked]
        closed = [a for a in asked if a.question is not UNASKED and not a.question.requests]
        rows += [row for a in closed for row in self._verdicts(a, [])]
        open_ones = [a for a in asked if a.question.requests]
        if not open_ones:
            return rows
        return rows + self._in_blocks(bench, open_ones, first)

    def _in_blocks(self, bench: Workbench, asked: Sequence[_Asked], first: int) -> list[Row]:
        @cache
        def engine() -> Engine:
            assert self.model is not None
            assert self.engine is not None
            return bench.engine(self.engine, self.model.files(bench))

        assert self.engine is not None
        return in_blocks(
            bench,
            f"{self.label}: questions",
            asked,
            max(1, self.engine.block // self.judge.n),
            lambda block: self._block(engine(), block),
            order=lambda asked: by_length(engine(), asked, lambda a: a.question.requests[0]),
            tag=f"from{first}-" if first else "",
        )

    def _block(self, engine: Engine, asked: Sequence[_Asked]) -> list[Row]:
        """Ask all requests of the questions at once, and read each question's answers together."""
        uses = [[self._seeded(a, request) for request in a.question.requests] for a in asked]
        # By content: two candidates may raise the very same question.
        sent = {repr(request): request for use in uses for request in use}
        answers: dict[str, list[Answer]] = defaultdict(list)
        for answer in engine.answer([replace(r, id=name) for name, r in sent.items()]):
            answers[answer.request].append(answer)
        return [
            row
            for a, use in zip(asked, uses, strict=True)
            for row in self._verdicts(a, [x for request in use for x in answers[repr(request)]])
        ]

    def _seeded(self, asked: _Asked, request: Request) -> Request:
        """Options are not drawn: without seeds of their own, equal questions are one."""
        seeds = (0,) * self.judge.n if request.options else self._seeds(asked)
        return replace(request, id="", seeds=seeds)

    def _verdicts(self, asked: _Asked, answers: Sequence[Answer]) -> list[Row]:
        """n rows. Answers come request by request, and by sample within each."""
        n, rows = self.judge.n, []
        for j in range(n):
            own = answers[j::n]
            verdict = self.judge.verdict(asked.case, asked.question, own)
            row = _row(asked, asked.number * n + j, verdict, self.scale)
            row[_SENT] = sum(a.prompt_tokens for a in own)
            row[_CACHED] = sum(a.cached_tokens for a in own)
            rows.append(row)
        return rows

    def _seeds(self, asked: _Asked) -> tuple[int, ...]:
        assert self.model is not None
        c, n = asked.candidate, self.judge.n
        name = (self.seed, "judge", self.model.key, c.prompt_id, c.model, c.draw, c.sample)
        first = asked.number * n
        return tuple(seed_of(*name, j) for j in range(first, first + n))


def _key(recipe: Row, pool: Sibling) -> str:
    return key_of(recipe | {"pool": {"stage": pool.key}})


def _row(asked: _Asked, judgement: int, verdict: Verdict, scale: tuple[float, float]) -> Row:
    """Whatever a judge says, a score off its scale is missing."""
    score, reason, c = verdict.score, verdict.reason, asked.candidate
    if score is not None and not scale[0] <= score <= scale[1]:
        score, reason = None, "out_of_scale"
    return {
        "prompt_id": c.prompt_id,
        "model": c.model,
        "draw": c.draw,
        "sample": c.sample,
        "judgement": judgement,
        "score": score,
        "text": verdict.text,
        "reason": reason,
        **dict(asked.question.about),
    }
