"""Keys coincide exactly when the work is the same."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from conftest import Compose

from tsr.judges.self_judge import SelfJudge as Ours
from tsr.loop import Run, _lab, build_run
from tsr.selectors import BestOf, WorstOf
from tsr.settings import setting
from tsr.stage import Stage, walk
from tsr.stages.dpo import DPO

TINY = ("model=tiny", "judge=self")


def run(composed: Compose, *overrides: str) -> Run:
    return build_run(composed(*TINY, *overrides))


def dpos(run: Run) -> list[DPO]:
    return [s for s in walk(run.goals) if isinstance(s, DPO)]


def test_temporals_first_future_model_is_past_onlys_m1(composed: Compose) -> None:
    temporal, past = run(composed, "variant=temporal"), run(composed, "variant=past_only")
    future = dpos(temporal)[0]
    assert future == past.iterations[0].model
    assert future != temporal.iterations[0].model


def test_a_shared_anchor_pool_makes_all_first_trainings_one(composed: Compose) -> None:
    shared = "variant.anchor_pool=shared"
    first = {
        dpos(run(composed, f"variant={name}", shared))[0].key
        for name in ("self_rewarding", "past_only", "temporal", "future_only")
    }
    assert len(first) == 1


def test_a_fresh_anchor_pool_keeps_them_apart(composed: Compose) -> None:
    plain, past = run(composed, "variant=self_rewarding"), run(composed, "variant=past_only")
    assert dpos(plain)[0] != dpos(past)[0]
    pools = {s for s in plain.stages if s.kind == "generate" and s.prompts.part == 0}  # type: ignore[attr-defined]
    assert len(pools) == 1
    assert pools <= set(past.stages), "M0's own pool of iteration 0 is shared"


def test_a_bare_worst_of_the_anchor_is_a_fresh_draw_too(composed: Compose) -> None:
    config = composed(*TINY, "variant=past_only", "iterations=1")
    lab = _lab(config)
    bare = lab.pairs(BestOf(lab.now), WorstOf(lab.anchor))
    drawn = {(p.judged.draw, role) for p, role in bare.pools.items()}  # type: ignore[attr-defined]
    assert drawn == {(0, "own"), (1, "anchor")}


def test_a_rule_of_phase_2_leaves_phase_1_alone(composed: Compose) -> None:
    paper, loose = run(composed), run(composed, "pairing.future_rule=ge")
    assert dpos(paper)[0] == dpos(loose)[0]
    assert paper.final != loose.final


def test_more_iterations_share_the_first_ones(composed: Compose) -> None:
    two, three = run(composed, "iterations=2"), run(composed, "iterations=3")
    assert [it.model for it in three.iterations][:2] == [it.model for it in two.iterations]


CHANGES = [
    "k=4", "seed=1", "sampling.temperature=0.7", "sampling.top_p=0.9",
    "sampling.max_new_tokens=13", "pairing.margin=0.5", "pairing.ties=random",
    "pairing.anchor_rule=le", "pairing.future_rule=ge", "pairing.identical=keep",
    "pairing.empty=exclude", "pairing.unfinished=exclude", "pairing.aggregate=median",
    "judge=verifier", "judge.scoring=text", "judge.phase1=m0", "judge.phase2=future",
    "judge.high=10", "variant.start=future", "variant.start=m0",
    "variant.reference=m0", "variant.phase2_prompts=fresh", "engine.dtype=bf16",
    "engine=scripted", "train.dpo.beta=0.2", "train.dpo.learning_rate=1e-4",
    "train.dpo.epochs=2", "train.dpo.loss=[ipo]", "train.dpo.lora_rank=8",
    "train.dpo.precision=bf16", "train.dpo.batch_size=8",
    "train.dpo.loss=[robust] train.dpo.label_smoothing=0.1",
    "train/dpo=full", "data.seed=1", "data.prompts_per_iteration=7", "data.heldout=3",
    "data=starter", "model.architecture=qwen", "model.sft=ift",
    "model.template=chatml model.turn_end='<|im_end|>'", "train.dpo.lora_dropout=0.1",
    "judge.prompt_file={prompt}", "model.sft=ift train.sft.epochs=2",
]  # fmt: skip


def test_the_previous_model_is_another_anchor_from_the_third_iteration_on(
    composed: Compose,
) -> None:
    m0, previous = (
        run(composed, "iterations=3", f"variant.anchor={a}") for a in ("m0", "previous")
    )
    same = [a.model == b.model for a, b in zip(m0.iterations, previous.iterations, strict=True)]
    assert same == [True, True, False]


NEUTRAL = [
    "engine.batch_size=7", "engine.block=9", "engine.device=cpu", "train.dpo.micro_batch=2",
    "train.dpo.gradient_checkpointing=true", "train.dpo.checkpoint_steps=9", "store_check=size",
    "tracker=wandb", "tracker.project=other", "name=mine", "runs=elsewhere", "judge.name=me",
    "variant.name=me", "model.name=me",
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_setting_that_affects_results_changes_the_final_key(
    composed: Compose, tmp_path: Path, change: str
) -> None:
    (tmp_path / "prompt.txt").write_text("{prompt} {response}")
    changes = change.format(prompt=tmp_path / "prompt.txt").split()
    # SFT's own settings are compared among runs that have an SFT.
    base = [changes.pop(0)] if changes[0] == "model.sft=ift" and len(changes) > 1 else []
    assert run(composed, *base, *changes).final != run(composed, *base).final


@pytest.mark.parametrize("change", NEUTRAL)
def test_a_neutral_setting_changes_no_key(composed: Compose, change: str) -> None:
    assert [s.key for s in run(composed, change).stages] == [s.key for s in run(composed).stages]


def test_sampling_settings_of_text_judgements_do_not_touch_expected_scores(
    composed: Compose,
) -> None:
    change = "judge.temperature=0.3"
    expected, text = "judge.scoring=expected", "judge.scoring=text"
    assert run(composed, expected, change).final == run(composed, expected).final
    assert run(composed, text, change).final != run(composed, text).final


def test_keys_are_the_same_in_another_process(composed: Compose) -> None:
    code = (
        "from tsr.compose import compose_all; from tsr.loop import build_run;"
        f"print(build_run(compose_all({list(TINY)!r}, False)[0]).final.key)"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == run(composed).final.key


@dataclass(frozen=True, eq=False)
class Before(Stage):
    kind: ClassVar[str] = "toy"
    k: int = 7


@dataclass(frozen=True, eq=False)
class After(Stage):
    kind: ClassVar[str] = "toy"
    k: int = 7
    rule: str = setting("strict", reproduces="strict")


@dataclass(frozen=True, eq=False)
class Raised(Stage):
    kind: ClassVar[str] = "toy"
    version: ClassVar[int] = 2
    k: int = 7


@dataclass(frozen=True, eq=False)
class OtherDefault(Stage):
    kind: ClassVar[str] = "toy"
    k: int = 5


def test_a_later_field_leaves_old_keys_valid_while_it_reproduces_them() -> None:
    assert After() == Before()
    assert After(rule="loose") != Before()


def test_a_changed_default_or_version_changes_the_key() -> None:
    assert OtherDefault() != Before()
    assert OtherDefault(k=7) == Before()
    assert Raised() != Before()


@dataclass(frozen=True)
class SelfJudge(Ours):
    """A user's judge that happens to have our judge's name and fields."""


def test_a_users_class_never_shares_a_key_with_ours() -> None:
    ours, theirs = Ours(prompt="{prompt} {response}"), SelfJudge(prompt="{prompt} {response}")
    assert Judged(ours).key != Judged(theirs).key


@dataclass(frozen=True, eq=False)
class Judged(Stage):
    kind: ClassVar[str] = "toy"
    judge: Ours = Ours()


def test_a_recipe_holds_only_plain_values() -> None:
    with pytest.raises(TypeError, match="cannot hold"):
        _ = Before(k=object()).key  # type: ignore[arg-type]
