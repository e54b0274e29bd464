"""A run's figures, one row a model: M0, M1, ...; read from the store's records."""

from collections.abc import Sequence
from typing import Any

from tsr.loop import Iteration, Run
from tsr.stage import Stage
from tsr.stages.dpo import DPO
from tsr.stages.judge import Judgements
from tsr.stages.pair import Pairs
from tsr.store import Store

Row = dict[str, Any]


def first_row(run: Run, store: Store) -> Row | None:
    """M0's row, once its evaluation is there; a run without held-out prompts has only the name."""
    if run.evaluation is not None and not store.has(run.evaluation):
        return None
    return {"model": "M0"} | _heldout(run.evaluation, store)


def iteration_row(iteration: Iteration, store: Store) -> Row | None:
    """The row of an iteration, or None while something of it is missing."""
    wanted = (iteration.model, iteration.diagnosis, iteration.evaluation)
    if not all(store.has(stage) for stage in wanted if stage is not None):
        return None
    figures = store.record(iteration.diagnosis)["figures"]
    row = {"model": f"M{iteration.index + 1}", "iteration": iteration.index}
    row |= {k: v for k, v in figures.items() if k not in ("units", "tag")}
    return row | _phase1(iteration, store) | _heldout(iteration.evaluation, store)


def rows_of(run: Run, store: Store) -> list[Row]:
    """Every row that is complete, M0's first."""
    rows = [first_row(run, store), *(iteration_row(it, store) for it in run.iterations)]
    return [row for row in rows if row is not None]


def phase1_pairs(iteration: Iteration) -> Pairs | None:
    """D1: what the future model was trained on, where the variant has one."""
    for pool, role in iteration.model.pairs.pools.items():
        model = getattr(pool.judged, "model", None)
        if role == "future" and isinstance(model, DPO):
            return model.pairs
    return None


def _phase1(iteration: Iteration, store: Store) -> Row:
    first = phase1_pairs(iteration)
    if first is None or not store.has(first):
        return {}
    figures = store.record(first)["figures"]
    return {"phase1_pairs": figures["pairs"], "phase1_score_gap": figures["score_gap"]}


def _heldout(evaluation: Judgements | None, store: Store) -> Row:
    if evaluation is None:
        return {}
    figures = store.record(evaluation)["figures"]
    return {
        "heldout": figures["mean"],
        "heldout_error": figures["error"],
        "heldout_answers": figures["valid"],
    }


def judgements_of(stages: Sequence[Stage]) -> int:
    """How many judgements a model is asked for."""
    return sum(s.count for s in stages if isinstance(s, Judgements) and s.model is not None)


def work_of(run: Run) -> Row:
    """What a run asks for: candidates, judgements by a model, trainings."""
    stages = run.stages
    return {
        "candidates": sum(s.count for s in stages if s.kind == "generate"),
        "judgements": judgements_of(stages),
        "trainings": sum(s.kind in ("sft", "dpo") for s in stages),
    }
