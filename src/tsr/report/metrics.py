"""A run's figures, one row a model: M0, M1, ...; read from the store's records."""

from typing import Any

from tsr.loop import Iteration, Run
from tsr.stage import walk
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


def _phase1(iteration: Iteration, store: Store) -> Row:
    """What the future model was trained on, where the variant has one."""
    last = iteration.model.pairs
    if "future" not in last.pools.values():
        return {}
    future = next(pool for pool, role in last.pools.items() if role == "future").pool.model
    first = [s for s in future.inputs if isinstance(s, Pairs)]
    if not first or not store.has(first[0]):
        return {}
    figures = store.record(first[0])["figures"]
    return {"phase1_pairs": figures["pairs"], "phase1_score_gap": figures["score_gap"]}


def _heldout(evaluation: Judgements | None, store: Store) -> Row:
    if evaluation is None:
        return {}
    figures = store.record(evaluation)["figures"]
    n = figures["valid"]
    error = figures["std"] / n**0.5 if n else None
    return {"heldout": figures["mean"], "heldout_error": error, "heldout_answers": n}


def work_of(run: Run) -> Row:
    """What a run asks for: candidates, judgements by a model, trainings."""
    stages = walk(run.goals)
    return {
        "candidates": sum(s.count for s in stages if s.kind == "generate"),
        "judgements": sum(s.count for s in stages if s.kind == "judge" and s.tag != "Verifier"),
        "trainings": sum(s.kind in ("sft", "dpo") for s in stages),
    }
