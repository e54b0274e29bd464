"""Scores: noise, ensembles, comparisons and questions of several requests, worked by hand."""

import math
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from conftest import Compose
from stage_tools import Counting, Nobody, Told, bench, execute, executor, figures, given

from tsr.config import EngineConfig, JudgeConfig, NoiseConfig
from tsr.engines.base import Answer, Request
from tsr.engines.build import build_engine
from tsr.engines.scripted import ScriptedEngine
from tsr.executors.local import LocalExecutor
from tsr.judges.base import Judge
from tsr.judges.pairwise import Pairwise
from tsr.judges.self_judge import SelfJudge
from tsr.loop import Run, build_run
from tsr.selectors import Candidate
from tsr.stage import walk
from tsr.stages.ensemble import Ensemble
from tsr.stages.judge import Judgements
from tsr.stages.model import Pretrained
from tsr.stages.noise import Noisy
from tsr.stages.pair import Pairs
from tsr.stages.pool import Pool
from tsr.stages.scores import Scores

FIVE = Told(low=0, high=5)
SCRIPTED = EngineConfig(name="scripted")


def told(pool: Pool, judge: Judge = FIVE) -> Judgements:
    return Judgements(pool, judge, None, None, 0)


def asked(pool: Pool, judge: Judge, rivals: Pool | None = None) -> Judgements:
    return Judgements(pool, judge, Nobody(), SCRIPTED, 0, rivals)


def scores(run: LocalExecutor, stage: Scores) -> list[float | None]:
    """By candidate, in the pool's order."""
    execute(run, stage)
    return [c.score for c in stage.scored(bench(run), "mean")]


# Noise

MANY = [f"{i % 6}" for i in range(300)]


def missing(run: LocalExecutor, stage: Scores) -> set[int]:
    return {i for i, score in enumerate(scores(run, stage)) if score is None}


def test_a_flip_mirrors_on_the_scale_and_what_is_missing_stays_missing(tmp_path: Path) -> None:
    run, plain = executor(tmp_path), told(given("0", "1", "2.5", "5", "-"))
    noisy = Noisy(plain, NoiseConfig(flip=1.0))
    assert scores(run, noisy) == [5, 4, 2.5, 0, None]
    assert [row["reason"] for row in noisy.rows(bench(run))] == [None] * 4 + ["untold"]
    assert noisy.rows(bench(run))[0]["text"] == "says 0"
    ten = told(given("1", "10", "4"), Told(low=1, high=10))
    assert scores(run, Noisy(ten, NoiseConfig(flip=1.0))) == [10, 1, 7]


def test_drops_at_a_rate_are_among_those_at_a_higher_one(tmp_path: Path) -> None:
    run, plain = executor(tmp_path), told(given(*MANY))
    low, middle, high, all_ = (
        missing(run, Noisy(plain, NoiseConfig(drop=rate))) for rate in (0.1, 0.3, 0.6, 1.0)
    )
    assert 15 <= len(low) <= 45 < len(middle) <= 115 < len(high) <= 205
    assert low < middle < high < all_ == set(range(300))
    dropped = figures(run, Noisy(plain, NoiseConfig(drop=0.3)))
    assert dropped["missing"] == {"noise": len(middle)}
    assert dropped["judgements"] == 300


def test_flips_at_a_rate_are_among_those_at_a_higher_one(tmp_path: Path) -> None:
    run, plain = executor(tmp_path), told(given(*MANY))
    before = scores(run, plain)

    def flipped(rate: float) -> set[int]:
        after = scores(run, Noisy(plain, NoiseConfig(flip=rate)))
        assert all(a in (b, 5 - (b or 0)) for a, b in zip(after, before, strict=True))
        return {i for i, (a, b) in enumerate(zip(after, before, strict=True)) if a != b}

    assert set() < flipped(0.1) < flipped(0.4) < flipped(1.0) == set(range(300))


def test_normal_noise_grows_with_sd_and_stays_on_the_scale(tmp_path: Path) -> None:
    run, plain = executor(tmp_path), told(given(*MANY))
    small, double, huge = (
        scores(run, Noisy(plain, NoiseConfig(sd=sd))) for sd in (0.1, 0.2, 1000.0)
    )
    shifts = [(s - int(m), d - int(m)) for s, d, m in zip(small, double, MANY, strict=True)
              if s is not None and d is not None and m in ("2", "3")]  # fmt: skip
    assert [d for _, d in shifts] == pytest.approx([2 * s for s, _ in shifts])
    assert 0.08 < math.sqrt(fmean(s * s for s, _ in shifts)) < 0.12
    assert all(0 <= s <= 5 for s in [*small, *double, *huge] if s is not None)
    assert {0.0, 5.0} <= set(huge), "what leaves the scale is kept on its edge"
    assert sum(figures(run, Noisy(plain, NoiseConfig(sd=1000.0)))["histogram"]) == 300


def test_noise_is_of_the_judgement_and_the_seed(tmp_path: Path) -> None:
    here, there = executor(tmp_path / "a"), executor(tmp_path / "b")
    noise, pool = NoiseConfig(sd=0.5, flip=0.2, drop=0.2), given(*MANY)
    first = scores(here, Noisy(told(pool), noise))
    assert scores(there, Noisy(told(pool), noise)) == first
    assert scores(here, Noisy(told(pool), replace(noise, seed=1))) != first
    # The first 50 answers among fewer get the noise that they get among all.
    assert scores(here, Noisy(told(given(*MANY[:50])), noise)) == first[:50]


TINY = ("model=tiny", "judge=self", "variant=self_rewarding", "iterations=1")


def pools(run: Run) -> list[Scores]:
    return [pool for it in run.iterations for pool in it.model.pairs.pools]


def test_no_noise_is_no_stage_and_levels_share_the_judgements(composed: Compose) -> None:
    plain = build_run(composed(*TINY))
    silent = build_run(composed(*TINY, "judge.noise.seed=3"))
    assert [s.key for s in silent.stages] == [s.key for s in plain.stages]
    levels = [build_run(composed(*TINY, f"judge.noise.flip={rate}")) for rate in (0.1, 0.2)]
    (own,), (low,), (high,) = pools(plain), pools(levels[0]), pools(levels[1])
    assert isinstance(low, Noisy)
    assert isinstance(high, Noisy)
    assert low.scores == high.scores == own
    assert len({low, high, own}) == 3
    assert len({run.final for run in (plain, *levels)}) == 3


def test_noisy_comparisons_are_still_counted_by_candidate(tmp_path: Path) -> None:
    pool = given("a", "b b", "c c c")
    plain = asked(pool, Pairwise.of(JudgeConfig()), pool)
    run = executor(tmp_path, ScriptedEngine(longer))
    noisy = Noisy(plain, NoiseConfig(flip=1.0))
    assert scores(run, noisy) == [1.0, 0.5, 0.0]
    assert figures(run, noisy)["histogram"] == figures(run, plain)["histogram"]
    assert sum(figures(run, noisy)["histogram"]) == 3


# Ensembles

ANSWERS = given("5|1|x", "0|5", "-|5", "2|3", "1|-", "-|-")
FIRST, SECOND = told(ANSWERS, Told(0, 5, part=0)), told(ANSWERS, Told(1, 5, part=1))


def test_an_ensemble_is_the_weighted_mean_of_shares_of_scales(tmp_path: Path) -> None:
    run = executor(tmp_path)
    both = Ensemble((FIRST, SECOND), ("a", "b"), (1.0, 3.0), "mean")
    # Shares of 0 ... 5 and of 1 ... 5: (1, 0), (0, 1), (-, 1), (0.4, 0.5), (0.2, -), (-, -).
    wanted = [0.25, 0.75, None, (0.4 + 3 * 0.5) / 4, None, None]
    assert scores(run, both) == [None if w is None else pytest.approx(w) for w in wanted]
    rows = both.rows(bench(run))
    assert [row["sample"] for row in rows] == [0, 1, 2, 3, 4, 5]
    assert rows[3]["text"] == "a: 0.400, b: 0.500"
    assert rows[2]["text"] == "a: -, b: 1.000"
    found = figures(run, both)
    assert (found["valid"], found["missing"]) == (3, {"member_missing": 3})
    assert (both.scale, both.count, found["scale"]) == ((0, 1), 6, [0, 1])


def test_equal_members_change_nothing_but_the_scale(tmp_path: Path) -> None:
    run = executor(tmp_path)
    once = Ensemble((FIRST,), ("a",), (0.3,), "mean")
    assert scores(run, once) == [1.0, 0.0, None, 0.4, 0.2, None]
    thrice = Ensemble((FIRST,) * 3, ("a", "b", "c"), (0.1, 0.1, 0.1), "mean")
    assert scores(run, thrice) == pytest.approx([1.0, 0.0, None, 0.4, 0.2, None])
    assert max(s for s in scores(run, thrice) if s is not None) <= 1


def test_noise_on_a_member_and_on_the_whole(tmp_path: Path) -> None:
    run, flip = executor(tmp_path), NoiseConfig(flip=1.0)
    inner = Ensemble((Noisy(FIRST, flip), SECOND), ("a", "b"), (1.0, 1.0), "mean")
    assert scores(run, inner) == pytest.approx([0.0, 1.0, None, 0.55, None, None])
    assert scores(run, Noisy(inner, flip)) == pytest.approx([1.0, 0.0, None, 0.45, None, None])


ENSEMBLE = ("model=tiny", "judge=ensemble", "variant=self_rewarding")


def test_each_member_is_judged_by_whom_its_config_says(composed: Compose) -> None:
    run = build_run(composed(*ENSEMBLE, "judge.members.frozen.noise.drop=0.1"))
    both = pools(run)[-1]
    assert isinstance(both, Ensemble)
    current, frozen = both.members
    assert isinstance(current, Judgements)
    assert isinstance(frozen, Noisy)
    assert isinstance(frozen.scores, Judgements)
    assert (current.model, frozen.scores.model) == (run.iterations[0].model, run.m0)
    assert current.pool == frozen.scores.pool
    assert both.names == ("current", "frozen")


def test_members_are_the_very_judges_that_judge_alone(composed: Compose) -> None:
    text = "judge.scoring=text"
    both = pools(build_run(composed(*ENSEMBLE, "+judge.weights.frozen=2")))[0]
    assert isinstance(both, Ensemble)
    assert both.weights == (1.0, 2.0)
    alone = pools(build_run(composed("model=tiny", "variant=self_rewarding", text)))[0]
    assert both.members[0] == alone
    other = pools(build_run(composed(*ENSEMBLE)))[0]
    assert other != both


def test_pairs_of_an_ensemble_with_noise(composed: Compose) -> None:
    config = composed(
        "model=tiny", "engine=scripted", "variant=past_only", "iterations=1",
        "judge=ensemble", "judge.members.current.scoring=expected",
        "judge.members.frozen._target_=tsr.judges.verifier.Verifier", "judge.noise.sd=0.1",
        "judge.members.current.noise.flip=0.1", "pairing.margin_unit=scale", "pairing.margin=0.05",
    )  # fmt: skip
    run, pairs = executor(Path(config.store)), build_run(config).iterations[0].model.pairs
    execute(run, pairs)
    assert [figures(run, pool)["valid"] for pool in pairs.pools] == [6 * 3, 6 * 3]
    found = figures(run, pairs)
    assert found["pairs"] >= 3
    assert 0.05 < found["score_gap_share"] == found["score_gap"] <= 1
    gaps = [row["chosen_score"] - row["rejected_score"] for row in pairs.read(bench(run))]
    assert min(gaps) > 0.05


# Comparisons

RESPONSES = re.compile(r"<response_a>(.*)</response_a>\s+<response_b>(.*)</response_b>", re.DOTALL)


def longer(request: Request, seed: int) -> str:
    """The rule of a judge that likes length."""
    a, b = map(len, shown(request))
    return f"Verdict: [[{'A' if a > b else 'B' if b > a else 'C'}]]"


def shown(request: Request) -> tuple[str, str]:
    found = RESPONSES.search(request.messages[-1]["content"])
    assert found is not None
    return found[1], found[2]


class LikesLength(ScriptedEngine):
    """Answers with words, and prefers the longer of two answers."""

    def __init__(self) -> None:
        super().__init__(self._answered)

    def _answered(self, request: Request, seed: int) -> str:
        compared = "<response_a>" in request.messages[-1]["content"]
        return longer(request, seed) if compared else self._words(request, seed)


def share(own: str, other: str) -> float:
    return 0.5 if len(own) == len(other) else float(len(own) > len(other))


def name_of(c: Candidate) -> str:
    return f"{c.prompt_id}/{c.model}/{c.draw}/{c.sample}"


def test_a_temporal_run_with_comparisons(composed: Compose) -> None:
    config = composed(
        "model=tiny", "engine=scripted", "variant=temporal", "judge=pairwise", "k=3",
        "judge.scoring=text", "data.prompts_per_iteration=4", "diagnose.similarity=false",
    )  # fmt: skip
    run, stages = executor(Path(config.store), LikesLength()), build_run(config)
    execute(run, *stages.goals)
    phases = [stage for stage in walk(stages.goals) if isinstance(stage, Pairs)]
    lineage = [stages.m0, stages.iterations[0].model]
    roles = [sorted(p.pools.values()) for p in phases]
    assert roles == [["anchor", "own"], ["anchor", "future", "own"]] * 2
    for number, pairs in enumerate(phases):
        for pool, role in pairs.pools.items():
            assert isinstance(pool, Judgements)
            assert pool.rivals is not None
            rivals = pool.rivals.read(bench(run))
            assert {(r.model, r.draw) for r in rivals} == {(lineage[number // 2].key[:16], 0)}
            check_win_rates(run, pool, rivals)
            per_prompt = 3 * (2 if role == "own" else 3) * 2
            assert figures(run, pool)["judgements"] == pool.count == 4 * per_prompt, role


def check_win_rates(run: LocalExecutor, pool: Judgements, rivals: list[Candidate]) -> None:
    against = {(r["prompt_id"], r["sample"], r["against"]) for r in pool.rows(bench(run))}
    for c in pool.scored(bench(run), "mean"):
        others = [r for r in rivals if r.prompt_id == c.prompt_id and name_of(r) != name_of(c)]
        assert c.score == pytest.approx(fmean(share(c.text, r.text) for r in others))
        assert {n for p, s, n in against if (p, s) == (c.prompt_id, c.sample)} == set(
            map(name_of, others)
        )


def test_the_same_number_by_two_models_is_two_answers(composed: Compose) -> None:
    run = build_run(composed("model=tiny", "judge=pairwise", "variant=past_only"))
    own, anchor = pools(run)[-2:]
    assert isinstance(own, Judgements)
    assert isinstance(anchor, Judgements)
    assert own.rivals == anchor.rivals == own.pool
    assert own.pool != anchor.pool
    assert own.siblings == anchor.siblings == ()


def test_equal_questions_with_options_are_asked_once(tmp_path: Path) -> None:
    pool, engine = given("yes", "yes", "no"), Counting()
    weighing = Pairwise.of(JudgeConfig(scoring="expected"))
    run = executor(tmp_path, engine)
    execute(run, stage := asked(pool, weighing, pool))
    # yes against no, and no against yes; the two yes are alike and nobody is asked.
    assert sorted(map(shown, engine.asked)) == [("no", "yes"), ("yes", "no")]
    rows = stage.rows(bench(run))
    assert Counter(row["text"] == "identical" for row in rows) == {False: 8, True: 4}
    first, second, third = scores(run, stage)
    assert first == second
    assert first is not None
    assert third is not None
    # A yes has 0.5 twice from its twin, and v and w from the no, which has 1 - v and 1 - w.
    assert (first - 0.25) * 2 == pytest.approx(1 - third)


def test_equal_questions_with_texts_are_asked_with_seeds_of_their_own(tmp_path: Path) -> None:
    pool, engine = given("yes", "yes", "no"), Counting(longer)
    stage = asked(pool, Pairwise.of(JudgeConfig(n=2)), pool)
    run = executor(tmp_path, engine)
    assert scores(run, stage) == [0.75, 0.75, 0.0]
    assert len(engine.asked) == 8
    assert engine.samples == len({seed for r in engine.asked for seed in r.seeds}) == 16
    assert figures(run, stage)["judgements"] == 3 * 2 * 2 * 2


# Questions of several requests

SHARES = {  # of first digits, and of a 0 after a 1
    "good": ({"1": 0.5, "9": 0.5}, {"0": 0.8}),
    "bad": ({"2": 0.9, "3": 0.1}, {"0": 0.5}),
    "silent": ({}, {}),
}


class Weighing(Counting):
    """Tells the shares above, by the answer that it is asked about."""

    def answer(self, requests: Any) -> list[Answer]:
        weights = {request.id: self._weights(request) for request in requests}
        return [replace(a, options=weights[a.request]) for a in super().answer(requests)]

    def _weights(self, request: Request) -> dict[str, float]:
        found = re.search(r"<response>(\w+)</response>", request.messages[-1]["content"])
        assert found is not None
        shares = SHARES[found[1]][request.opening.endswith("1")]
        return {option: math.log(share) for option, share in shares.items()}


def test_a_scale_to_ten_takes_two_requests_read_together(tmp_path: Path) -> None:
    engine = Weighing()
    ten = SelfJudge.of(JudgeConfig(scoring="expected", low=1, high=10))
    stage, run = asked(given("bad", "good", "silent", "good"), ten), executor(tmp_path, engine)
    good = 0.5 * 0.8 * 10 + 0.5 * 0.2 * 1 + 0.5 * 9
    assert scores(run, stage) == [
        pytest.approx(2.1),
        pytest.approx(good),
        None,
        pytest.approx(good),
    ]
    assert figures(run, stage)["missing"] == {"no_option": 1}
    assert Counter(r.opening for r in engine.asked) == {"Score: ": 3, "Score: 1": 3}
    assert [row["judgement"] for row in stage.rows(bench(run))] == [0, 0, 0, 0]


def test_a_second_request_that_is_too_long_leaves_no_score(tmp_path: Path) -> None:
    class Tight(Weighing):
        def answer(self, requests: Any) -> list[Answer]:
            second = {
                r.id for r in requests if r.opening.endswith("1") and "bad" in str(r.messages)
            }
            return [
                replace(a, finish="too_long", options=None) if a.request in second else a
                for a in super().answer(requests)
            ]

    ten = SelfJudge.of(JudgeConfig(scoring="expected", low=1, high=10))
    run, stage = executor(tmp_path, Tight()), asked(given("bad", "good"), ten)
    assert scores(run, stage) == [None, pytest.approx(8.6)]
    assert figures(run, stage)["missing"] == {"too_long": 1}


def test_n_judgements_of_a_judge_with_options(tmp_path: Path) -> None:
    """The schema refuses it, but a judge of somebody's own may: its judgements are all the same."""
    once = SelfJudge.of(JudgeConfig(scoring="expected", low=1, high=10))
    twice = replace(once, n=2)
    run, stage = executor(tmp_path, Weighing()), asked(given("bad", "good"), twice)
    execute(run, stage)
    assert [r["score"] for r in stage.rows(bench(run))] == pytest.approx([2.1, 2.1, 8.6, 8.6])


# Prompts over the context


@pytest.mark.parametrize("scoring", ["expected", "text"])
def test_what_does_not_fit_the_context_is_missing_and_never_cut(
    composed: Compose, tmp_path: Path, scoring: str
) -> None:
    prompt, system = tmp_path / "prompt.txt", tmp_path / "system.txt"
    prompt.write_text("{prompt} {response}")
    system.write_text("")
    config = composed(
        "model=tiny", "engine.context=80", "judge.max_new_tokens=4", f"judge.scoring={scoring}",
        f"judge.prompt_file={prompt}", f"judge.system_file={system}",
    )  # fmt: skip
    pool, model = given("fine", "long " * 100, "good"), Pretrained.of(config.model)
    judge = SelfJudge.of(config.judge)
    stage = Judgements(pool, judge, model, config.engine, 0)
    run = executor(tmp_path / "store", build_engine(config.engine))
    execute(run, stage)
    rows = stage.rows(bench(run))
    assert rows[1]["reason"] == "too_long"
    assert [row["reason"] == "too_long" for row in rows] == [False, True, False]
    assert figures(run, stage)["missing"]["too_long"] == 1
    assert rows[1]["text"] == ""
    run.close()
