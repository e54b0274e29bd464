"""A whole sweep with a scripted engine and real (tiny) training: sharing, folders, failures."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import Compose
from rich.console import Console

from tsr.config import RunConfig
from tsr.jsonl import read_jsonl
from tsr.stage import Stage
from tsr.sweep import Finished, RunFailed, Sweep

pytestmark = pytest.mark.slow

SMALL = ("model=tiny", "engine=scripted", "data.heldout=4", "eval.samples=1")
VARIANTS = ("self_rewarding", "past_only", "temporal")


def sweep(configs: list[RunConfig]) -> Sweep:
    return Sweep(configs, Console(quiet=True))


@pytest.fixture
def three(composed: Compose) -> list[RunConfig]:
    return [composed(*SMALL, f"variant={name}") for name in VARIANTS]


def test_a_sweep_executes_each_distinct_stage_once_and_nothing_again(
    three: list[RunConfig],
) -> None:
    first = sweep(three)
    plan = first.plan()
    assert plan.asked > len(plan.distinct) == len(plan.to_run)
    finished = first.execute()
    counts = Counter(stage.key for stage in first.executor.executed)
    assert set(counts) == {stage.key for stage in plan.distinct}
    assert set(counts.values()) == {1}
    left = {path.name for path in (first.store.root / "stages").glob("*/*/*")}
    assert not left & {"blocks", "trainer"}, "working folders are no part of an artifact"
    assert [row["model"] for row in finished[2].rows] == ["M0", "M1", "M2"]

    again = sweep(three)
    assert again.plan().to_run == []
    repeated = again.execute()
    assert again.executor.executed == []
    assert [f.rows for f in repeated] == [f.rows for f in finished]


def test_what_a_run_leaves_is_read_with_ordinary_tools(composed: Compose) -> None:
    import datasets
    from peft import AutoPeftModelForCausalLM

    (run,) = sweep([composed(*SMALL)]).execute()
    assert json.loads((run.folder / "status.json").read_text())["state"] == "done"
    metrics = list(read_jsonl(run.folder / "metrics.jsonl"))
    assert [m["model"] for m in metrics] == ["M0", "M1", "M2"]
    assert metrics[1]["pairs"] > 0
    assert metrics[1]["phase1_pairs"] > 0
    assert "k: 3" in (run.folder / "config.yaml").read_text()
    assert {s["state"] for s in json.loads((run.folder / "plan.json").read_text())} == {"missing"}
    pairs = datasets.load_dataset(
        "json", data_files=str(run.folder / "pairs" / "iteration-0.jsonl"), split="train",
        cache_dir=str(run.folder / "cache"),
    )  # fmt: skip
    assert {"prompt", "chosen", "rejected", "chosen_score", "chosen_from"} <= set(pairs.features)
    model = AutoPeftModelForCausalLM.from_pretrained(run.folder / "final")
    assert "default" in model.peft_config


def test_each_pairs_sides_come_from_where_it_says(composed: Compose) -> None:
    run = sweep([composed(*SMALL, "variant=temporal", "iterations=1", "k=4")])
    run.execute()
    (pairs,) = [s for s in run.runs.popitem()[1].stages if s.kind == "pair" and _is_last(s)]
    bench = _Reader(run)
    texts = {
        (p.pool.name, p.pool.draw, c.prompt_id, c.sample): (c.text, c.score, role)
        for p, role in pairs.pools.items()  # type: ignore[attr-defined]
        for c in p.scored(bench, "mean")
    }
    rows = pairs.read(bench)  # type: ignore[attr-defined]
    assert {row["chosen_from"] for row in rows} == {"own", "future"}
    assert {row["rejected_from"] for row in rows} == {"own", "anchor"}
    for row in rows:
        for side in ("chosen", "rejected"):
            name = (row[f"{side}_model"], row[f"{side}_draw"], row["prompt_id"])
            text, score, role = texts[*name, row[f"{side}_sample"]]
            assert row[side] == [{"role": "assistant", "content": text}]
            assert (row[f"{side}_score"], row[f"{side}_from"]) == (score, role)
        assert row["chosen_score"] > row["rejected_score"]


def test_a_judge_that_never_parses_stops_its_branch_and_no_other(composed: Compose) -> None:
    deaf = composed(*SMALL, "judge.scoring=text", "judge.name=deaf", "variant=self_rewarding")
    # Words drawn at random seldom differ in what they fulfil: of three answers often none does.
    good = composed(*SMALL, "judge=verifier", "variant=self_rewarding", "iterations=1", "k=12")
    both = sweep([deaf, good])
    with pytest.raises(RunFailed, match=r"no prompt gave a pair \(missing: 6"):
        both.execute()
    states = {
        path.parent.name.split("-")[2]: json.loads(path.read_text())
        for path in Path(good.runs).glob("*/status.json")
    }
    assert states["verifier"]["state"] == "done"
    assert states["deaf"]["state"] == "failed"
    first = states["deaf"]["failures"][0]
    assert first["error"].startswith("NoPairs")
    assert "NoPairs" in Path(first["log"]).read_text()


def test_a_failed_stage_is_not_tried_twice_in_a_sweep(
    composed: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tsr.stages.dpo import DPO

    tried: list[str] = []

    def broken(self: Stage, bench: Any) -> dict[str, Any]:
        tried.append(self.key)
        raise ValueError("the card fell off the bus")

    monkeypatch.setattr(DPO, "produce", broken)
    runs = [composed(*SMALL, f"variant={name}") for name in ("past_only", "temporal")]
    with pytest.raises(RunFailed, match="the card fell off the bus"):
        sweep(runs).execute()
    assert len(tried) == len(set(tried)) == 1, "temporal's first training is past-only's"


def test_interruption_keeps_the_state(composed: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    from tsr.stages.pair import Pairs

    config = composed(*SMALL, "variant=self_rewarding")
    produce = Pairs.produce

    def interrupted(self: Pairs, bench: Any) -> dict[str, Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr(Pairs, "produce", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sweep([config]).execute()
    (status,) = Path(config.runs).glob("*/status.json")
    assert json.loads(status.read_text())["state"] == "interrupted"
    monkeypatch.setattr(Pairs, "produce", produce)
    after = sweep([config])
    assert after.plan().count("done") >= 3
    (run,) = after.execute()
    assert isinstance(run, Finished)


class _Reader:
    def __init__(self, sweep: Sweep) -> None:
        self.artifact = sweep.store.folder


def _is_last(stage: Stage) -> bool:
    return "future" in stage.pools.values()  # type: ignore[attr-defined]
