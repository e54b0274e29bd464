"""A sweep over K pays for the largest K only: what a sibling has is taken over as it is."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stage_tools import Counting, Nobody, Told, execute, executor, figures

from tsr.compose import compose_all
from tsr.config import EngineConfig, JudgeConfig, RunConfig
from tsr.engines.base import Answer, Engine, Request
from tsr.engines.scripted import ScriptedEngine
from tsr.executors.local import LocalExecutor
from tsr.judges.self_judge import SelfJudge
from tsr.loop import build_run
from tsr.plan import missing, plan_of
from tsr.recorder import named
from tsr.stage import Stage
from tsr.stages.generate import Generate
from tsr.stages.judge import Judgements
from tsr.store import Store

PROMPTS = 4
SCRIPTED = EngineConfig(name="scripted", block=8)
FILES = {"generate": "candidates.jsonl", "judge": "judgements.jsonl"}


@pytest.fixture(scope="module")
def pool() -> Generate:
    """Seven answers of nobody to each of four prompts."""
    size = f"data.prompts_per_iteration={PROMPTS}"
    config = compose_all(["model=tiny", size, "iterations=1", "variant=self_rewarding"], False)[0]
    (own,) = build_run(config).iterations[0].model.pairs.pools
    found = own.judged
    assert isinstance(found, Generate)
    return replace(found, model=Nobody(), engine=SCRIPTED, k=7)


def of(pool: Generate, k: int, judged: str = "") -> Stage:
    """The pool with another K, or its judgements: by texts (two each), by options, by no model."""
    smaller = replace(pool, k=k)
    if not judged:
        return smaller
    if judged == "told":
        return Judgements(smaller, Lengths(), None, None, 0)
    settings = JudgeConfig(scoring=judged, n=2 if judged == "text" else 1)
    return Judgements(smaller, SelfJudge.of(settings), Nobody("judge"), SCRIPTED, 0)


class Lengths(Told):
    """Needs no model, and gives any answer a score."""

    def read(self, case: Any, answer: Any) -> Any:
        return super().read(replace(case, answer=str(len(case.answer) % 2)), answer)


def made(run: LocalExecutor, stage: Stage) -> bytes:
    execute(run, stage)
    return (run.store.folder(stage) / FILES[stage.kind]).read_bytes()


def said(request: Request, seed: int) -> str:
    if len(request.messages) > 1:
        return ("Score: 5", "Score: 1", "who knows?")[seed % 3]
    return f"answer {seed % 1000}"


KINDS = ["", "text", "expected", "told"]


@pytest.mark.parametrize("judged", KINDS)
def test_a_smaller_k_asks_nothing(pool: Generate, tmp_path: Path, judged: str) -> None:
    large, engine = executor(tmp_path / "a", ScriptedEngine(said)), Counting(said)
    execute(large, of(pool, 7, judged))
    again = executor(tmp_path / "a", engine)
    taken = made(again, of(pool, 3, judged))
    assert engine.asked == []
    assert taken == made(executor(tmp_path / "b", ScriptedEngine(said)), of(pool, 3, judged))
    found = figures(again, of(pool, 3, judged))
    each = 2 if judged == "text" else 1
    assert (found["units"], found["reused"]) == (0, PROMPTS * 3 * each)


@pytest.mark.parametrize("judged", KINDS)
def test_a_larger_k_asks_the_rest_only(pool: Generate, tmp_path: Path, judged: str) -> None:
    small, engine = executor(tmp_path / "a", ScriptedEngine(said)), Counting(said)
    execute(small, of(pool, 3, judged))
    execute(small, of(pool, 7))
    again = executor(tmp_path / "a", engine if judged else ScriptedEngine(said))
    taken = made(again, of(pool, 7, judged))
    each = {"": 0, "text": 2, "expected": 1, "told": 0}[judged]
    assert engine.samples == PROMPTS * 4 * each
    assert taken == made(executor(tmp_path / "b", ScriptedEngine(said)), of(pool, 7, judged))


def test_each_prompt_is_asked_for_four_more(pool: Generate, tmp_path: Path) -> None:
    engine = Counting(said)
    run = executor(tmp_path, engine)
    execute(run, of(pool, 3))
    engine.asked.clear()
    execute(run, of(pool, 7))
    assert [len(request.seeds) for request in engine.asked] == [4] * PROMPTS
    found = figures(run, of(pool, 7))
    assert (found["units"], found["reused"], found["candidates"]) == (16, 12, 28)


def test_the_largest_sibling_serves(pool: Generate, tmp_path: Path) -> None:
    engine = Counting(said)
    run = executor(tmp_path, engine)
    execute(run, of(pool, 2), of(pool, 5))
    engine.asked.clear()
    execute(run, of(pool, 7))
    assert engine.samples == PROMPTS * 2
    engine.asked.clear()
    execute(run, of(pool, 4), of(pool, 1))
    assert engine.asked == []


class Dying(Counting):
    """Has so many calls in it."""

    def __init__(self, calls: int) -> None:
        super().__init__(said)
        self.calls = calls

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        if self.calls == 0:
            raise ConnectionResetError("gone")
        self.calls -= 1
        return super().answer(requests)


def killed(root: Path, stage: Stage, calls: int) -> None:
    run = executor(root, Dying(calls))
    run.execute([stage], lambda _: None)
    assert "ConnectionResetError: gone" in run.failures[stage].error
    assert run.store.state(stage) == "partial"


@pytest.mark.parametrize("judged", ["", "text", "expected"])
def test_a_sibling_that_appears_after_a_kill_is_used_rightly(
    pool: Generate, tmp_path: Path, judged: str
) -> None:
    root, engine = tmp_path / "a", Counting(said)
    execute(executor(root, ScriptedEngine(said)), of(pool, 7), of(pool, 3))
    target = of(pool, 7, judged) if judged else of(replace(pool, seed=5), 7)
    small = of(pool, 3, judged) if judged else of(replace(pool, seed=5), 3)
    killed(root, target, 2)
    execute(executor(root, ScriptedEngine(said)), small)
    taken = made(executor(root, engine), target)
    assert engine.samples == PROMPTS * 4 * (2 if judged == "text" else 1)
    assert taken == made(executor(tmp_path / "b", ScriptedEngine(said)), target)


def test_a_larger_sibling_between_two_tries(pool: Generate, tmp_path: Path) -> None:
    root, engine = tmp_path / "a", Counting(said)
    execute(executor(root, ScriptedEngine(said)), of(pool, 3))
    killed(root, of(pool, 7), 1)
    execute(executor(root, ScriptedEngine(said)), of(pool, 5))
    taken = made(executor(root, engine), of(pool, 7))
    assert engine.samples == PROMPTS * 2
    assert taken == made(executor(tmp_path / "b", ScriptedEngine(said)), of(pool, 7))


def test_a_kill_with_a_sibling_goes_on_from_its_last_block(pool: Generate, tmp_path: Path) -> None:
    root, engine = tmp_path / "a", Counting(said)
    execute(executor(root, ScriptedEngine(said)), of(pool, 3))
    killed(root, of(pool, 7), 1)  # a block of two prompts is done
    taken = made(executor(root, engine), of(pool, 7))
    assert engine.samples == 2 * 4
    assert taken == made(executor(tmp_path / "b", ScriptedEngine(said)), of(pool, 7))


class Short(Counting):
    """Has no room for the first prompt in order of name, nor for judging answers that end in 7."""

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        # Judging requests come under no prompt's id.
        first = min(self.prompts)
        return [
            replace(a, text="", finish="too_long", tokens=0, options=None)
            if a.request == first or "7</response>" in a.request
            else a
            for a in super().answer(requests)
        ]

    prompts: tuple[str, ...] = ("",)


@pytest.mark.parametrize(("one", "other"), [(3, 7), (7, 3)])
@pytest.mark.parametrize("judged", ["", "text"])
def test_prompts_that_are_too_long(
    pool: Generate, tmp_path: Path, judged: str, one: int, other: int
) -> None:
    def short() -> Engine:
        engine = Short(said)
        engine.prompts = tuple(ids)
        return engine

    look = executor(tmp_path / "look", ScriptedEngine(said))
    execute(look, pool)
    ids = {str(row["prompt_id"]) for row in rows(look, pool)}
    first = executor(tmp_path / "a", short())
    execute(first, of(pool, one, judged))
    taken = made(first, of(pool, other, judged))
    fresh = executor(tmp_path / "b", short())
    assert taken == made(fresh, of(pool, other, judged))
    assert figures(first, of(pool, other))["too_long"] == 1
    assert {row["prompt_id"] for row in rows(first, of(pool, other))} == ids - {min(ids)}
    if judged:
        found, wanted = (figures(r, of(pool, other, judged)) for r in (first, fresh))
        assert found["missing"] == wanted["missing"]
        assert found["missing"].get("too_long", 0) > 0 or other == 3


def rows(run: LocalExecutor, stage: Stage) -> list[dict[str, Any]]:
    from tsr.jsonl import read_jsonl

    return list(read_jsonl(run.store.folder(stage) / FILES[stage.kind]))


@pytest.mark.parametrize("change", ["seed", "draw", "temperature", "model", "dtype", "prompts"])
def test_other_work_is_no_sibling(pool: Generate, tmp_path: Path, change: str) -> None:
    others = {
        "seed": replace(pool, seed=1),
        "draw": replace(pool, draw=1),
        "temperature": replace(pool, sampling=replace(pool.sampling, temperature=0.5)),
        "model": replace(pool, model=Nobody("else")),
        "dtype": replace(pool, engine=replace(SCRIPTED, dtype="fp32")),
        "prompts": replace(pool, prompts=replace(pool.prompts, part=1)),
    }
    other, engine = others[change], Counting(said)
    run = executor(tmp_path, engine)
    execute(run, pool)
    assert not {s.key for s in other.siblings} & {pool.key, *(s.key for s in pool.siblings)}
    engine.asked.clear()
    execute(run, replace(other, k=3))
    assert engine.samples == PROMPTS * 3


def test_siblings_are_the_stages_with_another_k(pool: Generate) -> None:
    for judged in ("", "text", "told"):
        known = {s.amount: (s.kind, s.key, s.count) for s in of(pool, 7, judged).siblings}
        for k in (1, 3, 64):
            stage = of(pool, k, judged)
            assert known[k] == (stage.kind, stage.key, stage.count)
        assert 7 not in known


def test_a_damaged_sibling_is_named_and_not_used(pool: Generate, tmp_path: Path) -> None:
    root, engine, small = tmp_path / "a", Counting(said), of(pool, 3)
    first = executor(root, ScriptedEngine(said))
    good = made(first, small)
    path = first.store.folder(small) / "candidates.jsonl"
    path.write_bytes(good.replace(b"answer", b"answre", 1))
    run = executor(root, engine)
    run.execute([of(pool, 7)], lambda _: None)
    told = run.failures[of(pool, 7)].error
    assert small.label in told
    assert "candidates.jsonl" in told
    assert f"redo {small.key[:12]}" in told
    assert not run.store.has(of(pool, 7))
    run.store.redo(small.key)
    taken = made(executor(root, engine), of(pool, 7))
    assert engine.samples == PROMPTS * 7
    assert taken == made(executor(tmp_path / "b", ScriptedEngine(said)), of(pool, 7))


# The plan


def sweep(tmp_path: Path, *overrides: str) -> list[RunConfig]:
    places = [f"store={tmp_path / 'store'}", f"runs={tmp_path / 'runs'}"]
    return compose_all([*places, "model=tiny", "engine=scripted", *overrides], multirun=True)


@pytest.mark.parametrize("order", ["3,5,7", "7,3,5"])
def test_the_plan_counts_each_candidate_once(tmp_path: Path, order: str) -> None:
    configs = sweep(tmp_path, f"k={order}", "variant=past_only", "iterations=1")
    runs = named([build_run(config) for config in configs])
    goals = [goal for run in runs.values() for goal in run.goals]
    store = Store(tmp_path / "store")
    wanted = {name: run.stages for name, run in runs.items()}
    units = Counter[tuple[str, int]]()
    for stage, new in plan_of(wanted, goals, store).units.items():
        if isinstance(stage, Generate):
            units["candidates", stage.draw] += new
        if isinstance(stage, Judgements) and isinstance(stage.pool, Generate):
            units["judgements", stage.pool.draw] += new
    # The same model in all three: its own answers, and its second draw as the anchor's.
    assert units == {
        (what, draw): 6 * 7 for what in ("candidates", "judgements") for draw in (0, 1)
    }


def test_the_plan_knows_what_is_there(pool: Generate, tmp_path: Path) -> None:
    run = executor(tmp_path, ScriptedEngine(said))
    execute(run, of(pool, 3, "text"))
    goals = [of(pool, 7, "text"), of(pool, 2, "text")]
    plan = plan_of({"run": missing(goals, run.store)}, goals, run.store)
    new = {(stage.kind, stage.count): plan.units[stage] for stage in plan.to_run}
    assert new == {
        ("generate", PROMPTS * 7): PROMPTS * 4,
        ("judge", PROMPTS * 7 * 2): PROMPTS * 4 * 2,
        ("generate", PROMPTS * 2): 0,
        ("judge", PROMPTS * 2 * 2): 0,
    }


def test_what_was_taken_over_does_not_make_work_look_faster(pool: Generate, tmp_path: Path) -> None:
    run = executor(tmp_path, ScriptedEngine(said))
    execute(run, of(pool, 6), of(pool, 3), of(pool, 7))
    assert [row["units"] for row in run.store.timings("generate")] == [24, 0, 4]
    other = replace(pool, seed=1)
    plan = plan_of({"run": [other]}, [other], run.store)
    rates = [row["seconds"] / row["units"] for row in run.store.timings("generate") if row["units"]]
    assert plan.seconds[other] == pytest.approx(sum(rates) / 2 * 28)
