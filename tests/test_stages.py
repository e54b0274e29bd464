"""Stages with a scripted engine: judging, missing scores, figures, resuming."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from conftest import Compose
from rich.console import Console

from tsr.config import JudgeConfig, RunConfig
from tsr.engines.base import Answer, Request
from tsr.engines.scripted import ScriptedEngine
from tsr.executors.local import Bench, LocalExecutor
from tsr.histogram import histogram
from tsr.jsonl import read_jsonl
from tsr.judges.base import Case, Judge, Verdict
from tsr.judges.self_judge import SelfJudge
from tsr.loop import build_run
from tsr.plan import missing, plan_of
from tsr.progress import Reporter
from tsr.stage import Stage
from tsr.stages.diagnose import alarms
from tsr.stages.generate import Generate
from tsr.stages.judge import Judgements
from tsr.stages.pair import Pairs
from tsr.stages.scores import figures
from tsr.store import Store

Rule = Callable[[Request, int], str]
SMALL = ("model=tiny", "engine=scripted", "variant=self_rewarding", "iterations=1")


def executor(config: RunConfig, engine: ScriptedEngine | None = None) -> LocalExecutor:
    store, reporter = Store(Path(config.store)), Reporter(Console(quiet=True))
    return LocalExecutor(store, reporter, lambda _: engine or ScriptedEngine())


def pairs_of(config: RunConfig) -> Pairs:
    return build_run(config).iterations[0].model.pairs


def bench(run: LocalExecutor) -> Bench:
    return Bench(Path("unused"), run.store, run.engines, run.reporter)


def execute(run: LocalExecutor, *goals: Stage) -> None:
    run.execute(list(goals), lambda stage: None)
    assert not run.failures, run.failures


def is_judging(request: Request) -> bool:
    return "Score: " in request.messages[-1]["content"]


def thrice(request: Request, seed: int) -> str:
    """Judgements 0, 1, 2 of a candidate say 5, 2 and nothing readable; answers are words."""
    if not is_judging(request):
        return f"answer {seed % 7}"
    return ("Score: 5", "**Score:** 2/5", "no idea")[request.seeds.index(seed)]


@pytest.mark.parametrize(("how", "score"), [("mean", 3.5), ("median", 3.5)])
def test_only_valid_judgements_are_averaged(composed: Compose, how: str, score: float) -> None:
    config = composed(*SMALL, "judge.scoring=text", "judge.n=3", f"pairing.aggregate={how}")
    run, pairs = executor(config, ScriptedEngine(thrice)), pairs_of(config)
    execute(run, pairs)
    (pool,) = pairs.pools
    assert {c.score for c in pool.scored(bench(run), how)} == {score}
    found = run.store.record(pool)["figures"]
    assert (found["judgements"], found["valid"], found["missing"]) == (54, 36, {"unparsed": 18})
    dropped = run.store.record(pairs)["figures"]["dropped"]
    assert dropped == {"missing": 0, "tie": 6, "identical": 0}


def test_the_median_of_three_is_not_their_mean(composed: Compose) -> None:
    def said(request: Request, seed: int) -> str:
        return f"Score: {(0, 4, 5)[request.seeds.index(seed)]}" if is_judging(request) else "x"

    config = composed(*SMALL, "judge.scoring=text", "judge.n=3")
    run, pairs = executor(config, ScriptedEngine(said)), pairs_of(config)
    execute(run, pairs)
    (pool,) = pairs.pools
    assert {c.score for c in pool.scored(bench(run), "median")} == {4}
    assert {c.score for c in pool.scored(bench(run), "mean")} == {3}


def numbered(request: Request, seed: int) -> str:
    return f"answer number {request.seeds.index(seed)}"


class Short(ScriptedEngine):
    """Has no room for one prompt, nor for the judging of every prompt's first candidate."""

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        first = min(r.id for r in requests) if not is_judging(requests[0]) else ""
        judged = {r.id for r in requests if "answer number 0" in r.messages[-1]["content"]}
        return [
            replace(a, text="", finish="too_long", options=None)
            if a.request in {first, *judged}
            else a
            for a in super().answer(requests)
        ]


def test_what_is_too_long_is_missing_and_counted(composed: Compose) -> None:
    config = composed(*SMALL)
    run, pairs = executor(config, Short(numbered)), pairs_of(config)
    execute(run, pairs)
    (pool,) = pairs.pools
    assert run.store.record(pool.judged)["figures"]["too_long"] == 1
    assert run.store.record(pool)["figures"]["missing"] == {"too_long": 5}
    scored = pool.scored(bench(run), "mean")
    assert {c.score is None for c in scored if c.sample == 0} == {True}
    assert {c.score is None for c in scored if c.sample > 0} == {False}
    rows = pairs.read(bench(run))
    assert all(0 not in (row["chosen_sample"], row["rejected_sample"]) for row in rows)
    assert run.store.record(pairs)["figures"]["dropped"]["missing"] == 1


@dataclass(frozen=True)
class Boundless(Judge):
    """Scores on the edge of its scale and off it."""

    needs_model: ClassVar[bool] = False
    scores: tuple[float, ...] = ()

    def read(self, case: Case, answer: Answer | None) -> Verdict:
        return Verdict(float(self.scores[int(case.id.rpartition("/")[2])]))


def test_a_score_off_the_scale_is_missing(composed: Compose) -> None:
    config = composed(*SMALL, "k=4")
    (pool,) = pairs_of(config).pools
    judged = Judgements(pool.judged, Boundless(scores=(1.0, 1.01, -0.5, 99.0)), None, None, 0)
    run = executor(config)
    execute(run, judged)
    found = run.store.record(judged)["figures"]
    assert (found["valid"], found["missing"]) == (6, {"out_of_scale": 18})


def test_expected_scores_weigh_the_scales_tokens() -> None:
    judge = SelfJudge.of(JudgeConfig(scoring="expected"))
    assert judge.options == ("0", "1", "2", "3", "4", "5")
    shares = {"0": 0.1, "1": 0.0001, "2": 0.2, "3": 0.0001, "4": 0.05, "5": 0.05}
    logs = {option: math.log(share) for option, share in shares.items()}
    answer = Answer("c", 0, "", "options", 0, 9, options=logs)
    wanted = (0.0001 + 0.4 + 0.0003 + 0.2 + 0.25) / 0.4002
    assert judge.read(Case("c", "p", (), "a"), answer).score == pytest.approx(wanted)


def test_placeholders_in_model_text_stay_text() -> None:
    judge = replace(SelfJudge.of(JudgeConfig()), prompt="Q {prompt} A {response}", system="")
    request = judge.request(Case("c", "{response}", (), "{prompt}"))
    assert request.messages[0]["content"] == "Q {response} A {prompt}"


def test_the_first_k_candidates_are_those_of_a_run_with_k(composed: Compose) -> None:
    def texts(k: int) -> dict[tuple[str, int], str]:
        config = composed(*SMALL, f"k={k}")
        run = executor(config)
        (pool,) = pairs_of(config).pools
        execute(run, pool.judged)
        rows = read_jsonl(run.store.folder(pool.judged) / "candidates.jsonl")
        return {(row["prompt_id"], row["sample"]): row["text"] for row in rows}

    three, five = texts(3), texts(5)
    assert three == {key: text for key, text in five.items() if key[1] < 3}


class Dying(ScriptedEngine):
    """Dies in the third call; counts what it was asked."""

    asked: ClassVar[list[str]] = []

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        if len(self.asked) == 2:
            raise ConnectionResetError("gone")
        self.asked.append(requests[0].id)
        return super().answer(requests)


def test_a_stage_goes_on_from_its_last_block(composed: Compose) -> None:
    config = composed(*SMALL, "engine.block=6", "data.prompts_per_iteration=8")
    (pool,) = pairs_of(config).pools
    Dying.asked.clear()
    first = executor(config, Dying())
    first.execute([pool.judged], lambda stage: None)
    assert "ConnectionResetError: gone" in first.failures[pool.judged].error
    asked = list(Dying.asked)
    assert len(asked) == 2

    class Rest(ScriptedEngine):
        def answer(self, requests: Sequence[Request]) -> list[Answer]:
            asked.extend(r.id for r in requests)
            return super().answer(requests)

    second = executor(config, Rest())
    execute(second, pool.judged)
    assert len(asked) == 2 + 4, "of four blocks of two prompts, two were done"
    rows = list(read_jsonl(second.store.folder(pool.judged) / "candidates.jsonl"))
    straight = composed(*SMALL, "data.prompts_per_iteration=8", f"store={config.store}-2")
    other = executor(straight)
    execute(other, pool.judged)
    assert rows == list(read_jsonl(other.store.folder(pool.judged) / "candidates.jsonl"))


@dataclass(frozen=True, eq=False, repr=False)
class Counted(Stage):
    kind: ClassVar[str] = "counted"
    scratch: ClassVar[tuple[str, ...]] = ("blocks",)
    calls: ClassVar[list[Path]] = []

    def produce(self, bench: Any) -> dict[str, Any]:
        self.calls.append(bench.folder)
        (bench.folder / "blocks").mkdir()
        (bench.folder / "result.txt").write_text("done")
        return {"units": 1}


def test_finished_work_is_not_done_again_for_want_of_publishing(
    composed: Compose, tmp_path: Path
) -> None:
    run, stage = executor(composed(*SMALL)), Counted()
    folder = tmp_path / "part"
    folder.mkdir()
    first = run._produce(stage, folder)
    assert run._produce(stage, folder) == first == {"units": 1, "tag": ""}
    assert len(Counted.calls) == 1
    assert not (folder / "blocks").exists()


def test_what_is_read_along_is_made_again_when_it_is_gone(composed: Compose) -> None:
    config = composed(*SMALL)
    run, pairs = executor(config), pairs_of(config)
    execute(run, pairs)
    (pool,) = pairs.pools
    run.store.redo(pool.judged.key)
    again = executor(config)
    assert missing([pairs], again.store) == [], "the pairs are there, whatever led to them"
    other = pairs_of(composed(*SMALL, "pairing.margin=0.01"))
    assert missing([other], again.store) == [pool.judged, other]
    execute(again, other)


def test_estimates_come_from_like_work(composed: Compose) -> None:
    config = composed(*SMALL)
    run = executor(config)
    execute(run, pairs_of(config))
    twice = composed(*SMALL, "seed=1", "data.prompts_per_iteration=12")
    goals: list[Stage] = [pairs_of(twice)]
    plan = plan_of({"twice": missing(goals, run.store)}, goals, run.store)
    (generate,) = [s for s in plan.to_run if isinstance(s, Generate)]
    spent = run.store.timings("generate")[0]
    assert plan.seconds[generate] == pytest.approx(spent["seconds"] / spent["units"] * 36)
    other = replace(generate, sampling=replace(generate.sampling, max_new_tokens=500))
    unknown = plan_of({"other": [other]}, [other], run.store)
    assert unknown.seconds[other] is None


def row(prompt: str, score: float | None) -> dict[str, Any]:
    return {"prompt_id": prompt, "score": score, "reason": None if score is not None else "x"}


def test_the_error_of_a_mean_counts_prompts_not_samples() -> None:
    rows = [row("a", 1.0), row("a", 1.0), row("b", 0.0), row("b", 0.0), row("b", None)]
    found = figures(rows, (0, 1))
    assert (found["mean"], found["valid"], found["missing"]) == (0.5, 4, {"x": 1})
    assert found["error"] == pytest.approx(math.sqrt(0.5) / math.sqrt(2))
    assert figures([row("a", None)], (0, 1))["mean"] is None


def test_histograms_hold_both_ends() -> None:
    assert histogram([0, 0.49, 2.5, 5], 0, 5) == [2, 0, 0, 0, 0, 1, 0, 0, 0, 1]


CALM: dict[str, Any] = {
    "parse_failures": 1, "judgements": 100, "top_of_scale": 0.2, "similarity": 0.8,
    "chosen_logps_change": 1.0, "rejected_logps_change": -3.0,
}  # fmt: skip
ALARMING = [
    ({}, None),
    ({"parse_failures": 11}, "could not be read"),
    ({"top_of_scale": 0.6}, "top of the scale"),
    ({"chosen_logps_change": -1.0}, "both fell"),
    ({"similarity": 0.97}, "nearly alike"),
    ({"similarity": None, "top_of_scale": None}, None),
]


@pytest.mark.parametrize(("change", "told"), ALARMING)
def test_alarms(change: dict[str, Any], told: str | None) -> None:
    found = alarms(CALM | change)
    assert [told in text for text in found if told] == ([True] if told else [])
    assert bool(found) == bool(told)
