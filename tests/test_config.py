"""What a user gets wrong is refused when it is composed, in one line with what is allowed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Compose

from tsr.compose import ConfigErrors, compose_all, one_line
from tsr.config import RunConfig
from tsr.judging import Judging
from tsr.loop import build_run
from tsr.reference import rows
from tsr.settings import Refused
from tsr.sweep import Sweep

WRONG = [
    ("k=0", "k=0: must be >= 1"),
    ("iterations=0", "iterations=0: must be >= 1"),
    ("k=many", "k"),
    ("kk=3", "did you mean k?"),
    ("train.dpo.betta=3", "did you mean beta?"),
    ("train.dpo.beta=0", "train.dpo.beta=0.0: must be > 0"),
    ("train.dpo.loss=[best]", "must be one of sigmoid, hinge"),
    ("variant=temporl", "temporal"),
    ("judge.scoring=guess", "must be one of text, expected"),
    ("sampling.top_p=1.5", "must be > 0 and <= 1"),
    ("data.prompts.kind=magic", "must be one of starter, tasks"),
    ("data.prompts.kind=file", "data.prompts.path=null"),
    ("data=file", "data.prompts.path=null: kind=file needs a file"),
    ("model.source=hub", "model.repo=null"),
    ("pairing.ties=coin", "must be one of first, random, shortest, longest"),
    ("judge.low=9", "judge.low=9.0: must be < judge.high=5.0"),
    ("model=tiny variant.anchor=moon", "must be one of m0, previous, base"),
    ("train.dpo.method=full", "train.dpo.lora_rank=16: train.dpo.method=full has no adapter"),
    ("train/dpo=lora train.dpo.lora_rank=null", "needs a rank"),
    ("train.dpo.micro_batch=3", "must divide"),
    ("data.prompts.kind=none", "data.prompts.kind=none: a run needs prompts"),
    ("data.ift.kind=tasks", "have no answers to learn"),
    ("train.dpo.learning_rate=inf", "must be a finite number"),
    ("train.dpo.loss=[exo_pair]", "needs a value > 0"),
    ("train.dpo.loss=[aot]", "train.dpo.loss=aot: must be one of sigmoid"),
    ("train.dpo.loss=[aot_unpaired]", "train.dpo.loss=aot_unpaired: must be one of sigmoid"),
    ("train.dpo.label_smoothing=0.1", "train.dpo.label_smoothing=0.1: no loss of train.dpo.loss="),
    (
        "train.dpo.label_smoothing=0.1 train.dpo.loss=[ipo,sft]",
        "['ipo', 'sft'] reads it; allowed: 0, or one of exo_pair, robust",
    ),
    ("model.sft=ift train.dpo.lora_rank=8", "must be those of train.sft"),
    (
        "model.sft=ift train.dpo.lora_dropout=0.1",
        "lora_dropout=0.1: must be those of train.sft (16, 32, 0.0)",
    ),
    ("model=smollm2 model.template=chatml", "brings its own"),
    ("judge.noise.flip=2", "judge.noise.flip=2.0: must be >= 0 and <= 1"),
    ("judge.noise.drop=-1", "judge.noise.drop=-1.0: must be >= 0 and <= 1"),
    ("judge.noise.sd=-0.1", "judge.noise.sd=-0.1: must be >= 0"),
    ("judge.noise.sd=nan", "judge.noise.sd=nan: must be a finite number"),
    ("judge=self +engine@judge.engine=vllm", "judge.engine: the run's own models judge"),
    ("judge.n=0", "judge.n=0: must be >= 1"),
    ("judge=ensemble +judge.weights.other=1", "judge.weights.other=1.0: must be > 0, finite"),
    ("judge=ensemble +judge.weights.other=1", "of a member (current, frozen)"),
    ("judge=ensemble +judge.weights.frozen=0", "judge.weights.frozen=0.0: must be > 0"),
    ("judge=ensemble +judge.weights.frozen=nan", "judge.weights.frozen=nan: must be > 0"),
    ("judge=self +judge.weights.me=1", "of a member (there are none)"),
    ("judge=ensemble judge.members.frozen.n=0", "judge.members.frozen.n=0: must be >= 1"),
    ("judge=ensemble judge.members.frozen.noise.flip=2", "judge.members.frozen.noise.flip=2.0"),
    (
        "judge=ensemble +engine@judge.members.frozen.engine=vllm",
        "judge.members.frozen.engine: the run's own models judge",
    ),
    ("judge=ensemble judge.members.frozen.scor=text", "scor"),
    ("judge=reward_model judge.model.source=api judge.model.repo=null", "judge.model.repo=null"),
    ("resources.data_parallel=0", "resources.data_parallel=0: must be >= 1"),
    ("resources.gpu_memory=1.5", "resources.gpu_memory=1.5: must be > 0 and <= 1"),
    ("pairing.margin_unit=inches", "must be one of points, scale"),
]


def refusal(*overrides: str) -> str:
    with pytest.raises(ConfigErrors) as caught:
        compose_all(overrides, multirun=False)
    return one_line(caught.value)


@pytest.mark.parametrize(("overrides", "told"), WRONG)
def test_wrong_settings_are_refused_in_one_line(overrides: str, told: str) -> None:
    message = refusal(*overrides.split())
    assert told in message
    assert "\n" not in message


CONTRADICTIONS = [
    ("variant=past_only variant.anchor=null", "PastOnly needs an anchor; must be one of m0"),
    ("variant._target_=tsr.variants.nothing.X", "variant._target_"),
    ("variant._target_=tsr.loop.Run", "must be a subclass of tsr.variants.base.Variant"),
    ("+variant.options.lag=2", "variant.options"),
    ("variant=self_rewarding variant.start=future", "must be one of current, m0"),
    ("judge.prompt_file=nowhere.txt", "judge.prompt_file=nowhere.txt: cannot be read"),
    ("model=qwen model.template=nowhere.jinja", "model.template=nowhere.jinja: must be llama2"),
    ("data.ift.kind=none model.sft=ift", "data.ift.kind=none"),
    ("data.prompts.kind=file data.prompts.path=nowhere", "no such file"),
    ("model=tiny engine.name=reward", "engine.name=reward: makes no text"),
    (
        "judge=autoj_6b +engine@judge.engine=vllm judge.engine.name=reward",
        "judge.engine.name=reward: AutoJ needs one with text",
    ),
    (
        "judge=reward_model judge.model.repo=a/b judge.engine.name=vllm",
        "judge.engine.name=vllm: RewardModel needs one of reward",
    ),
    (
        "judge=openai judge.model.repo=gpt judge.engine.name=vllm",
        "judge.model.source=api: source=api and engine.name=openai go together",
    ),
    (
        "judge=autoj_6b +engine@judge.engine=openai",
        "judge.model.source=hub: source=api and engine.name=openai go together",
    ),
    ("judge=pairwise +judge.options.opponents=0", "judge.options.opponents=0: must be a whole"),
    (
        "judge=ensemble judge.members.frozen._target_=tsr.loop.Run",
        "judge.members.frozen._target_=tsr.loop.Run: must be a subclass",
    ),
    (
        "judge=ensemble judge.members.frozen.scoring=expected judge.members.frozen.high=20",
        "judge.members.frozen.high=20.0: scoring=expected knows scales up to 10",
    ),
    (
        "judge=ensemble judge.members.frozen.prompt_file=nowhere.txt",
        "judge.members.frozen.prompt_file=nowhere.txt: cannot be read",
    ),
    (
        "judge=ensemble +judge.members.frozen.options.lag=2",
        "judge.members.frozen.options={'lag': 2}",
    ),
]


@pytest.mark.parametrize(("overrides", "told"), CONTRADICTIONS)
def test_contradictions_are_refused_before_anything_runs(
    composed: Compose, overrides: str, told: str
) -> None:
    with pytest.raises(Refused, match=re.escape(told)):
        build_run(composed(*overrides.split()))


def test_what_stands_beside_a_refusal_is_allowed() -> None:
    for overrides in (
        "train.dpo.label_smoothing=0.1 train.dpo.loss=[robust]",
        "train.dpo.label_smoothing=0.1 train.dpo.loss=[sigmoid,exo_pair]",
        "model.sft=ift train.dpo.lora_dropout=0.1 train.sft.lora_dropout=0.1",
        "model.sft=none train.dpo.lora_dropout=0.1",
    ):
        assert compose_all(overrides.split(), multirun=False)


def test_every_option_of_every_group_composes() -> None:
    conf = Path(__file__).parents[1] / "conf"
    skip = {"file"}  # needs paths
    for group in ("model", "judge", "variant", "data", "engine", "train/dpo", "train/sft", "eval",
                  "tracker", "experiment", "resources"):  # fmt: skip
        options = sorted(p.stem for p in (conf / group).glob("*.yaml") if p.stem not in skip)
        assert options
        for option in options:
            overrides = [f"{group}={option}", *NEEDED.get(f"{group}={option}", ())]
            assert isinstance(compose_all(overrides, False)[0], RunConfig)


# What is somebody's own, and has no default; and what fits large models only.
NEEDED = {
    "resources=node8": ["model=llama3_8b"],
    "resources=cluster": ["model=llama3_8b"],
    "judge=reward_model": ["judge.model.repo=org/reward"],
    "judge=openai": ["judge.model.repo=gpt"],
}


@pytest.mark.parametrize("judge", ["judge=openai", "judge=reward_model"])
def test_a_judge_without_its_repo_is_refused(judge: str) -> None:
    assert "judge.model.repo" in refusal(judge)


JUDGES = [  # what judges, whether it is a model of its own, its scale, and its engine
    ("self", "SelfJudge", False, (0, 5), "transformers"),
    ("frozen", "SelfJudge", False, (0, 5), "transformers"),
    ("noisy", "SelfJudge", False, (0, 5), "transformers"),
    ("verifier", "Verifier", False, (0, 1), "transformers"),
    ("autoj_6b", "AutoJ", True, (1, 10), "transformers"),
    ("autoj_13b", "AutoJ", True, (1, 10), "transformers"),
    ("pairwise", "Pairwise", False, (0, 1), "transformers"),
    ("reward_model", "RewardModel", True, (0, 1), "reward"),
    ("openai", "SelfJudge", True, (0, 5), "openai"),
]


@pytest.mark.parametrize(("name", "kind", "external", "scale", "engine"), JUDGES)
def test_what_each_judge_is(
    composed: Compose, name: str, kind: str, external: bool, scale: tuple[int, int], engine: str
) -> None:
    judge = f"judge={name}"
    config = composed("model=tiny", judge, "judge.scoring=text", *NEEDED.get(judge, ()))
    judging = Judging.of(config.judge, config.engine)
    assert type(judging.judge).__name__ == kind
    assert (judging.external is not None) == external
    assert (judging.judge.low, judging.judge.high) == scale
    assert (judging.engine.name, judging.noise.none) == (engine, name != "noisy")
    assert build_run(config).final


def test_a_third_member_as_the_ensembles_file_tells(composed: Compose) -> None:
    config = composed(
        "model=tiny", "judge=ensemble", "+judge@judge.members.third=autoj_6b",
        "+judge.weights.third=2", "+engine@judge.members.third.engine=vllm",
    )  # fmt: skip
    judging = Judging.of(config.judge, config.engine)
    assert list(judging.members) == ["current", "frozen", "third"]
    assert (judging.weights, judging.members["third"].engine.name) == ({"third": 2.0}, "vllm")
    assert build_run(config).final


def test_paper_defaults_are_what_large_models_use() -> None:
    config = compose_all(["model=llama3_8b"], False)[0]
    assert (config.k, config.iterations) == (7, 2)
    assert (config.sampling.temperature, config.sampling.top_p) == (1.0, 1.0)
    assert config.sampling.max_new_tokens == config.judge.max_new_tokens == 1024
    dpo, sft = config.train.dpo, config.train.sft
    assert (dpo.method, dpo.epochs, dpo.learning_rate, dpo.batch_size) == ("full", 1, 5e-7, 32)
    assert (dpo.beta, dpo.max_length, dpo.max_prompt_length) == (0.1, 2048, 512)
    assert (dpo.schedule, dpo.warmup) == ("cosine", 0.1)
    assert (sft.epochs, sft.learning_rate, sft.batch_size) == (3, 2e-6, 32)
    assert config.data.prompts_per_iteration == 4000
    assert config.judge.scoring == "text"


def test_a_choice_on_the_command_line_beats_the_models_own() -> None:
    assert compose_all(["model=smollm2", "train/dpo=full"], False)[0].train.dpo.method == "full"
    assert compose_all(["model=smollm2", "k=2"], False)[0].k == 2


def test_sweeps_multiply_and_named_sweeps_expand() -> None:
    swept = compose_all(["variant=past_only,temporal", "model=qwen,mistral"], True)
    assert [(c.variant.name, c.model.name) for c in swept] == [
        ("past_only", "qwen"), ("past_only", "mistral"),
        ("temporal", "qwen"), ("temporal", "mistral"),
    ]  # fmt: skip
    named = compose_all(["sweep=ablation"], False)
    assert [c.variant.name for c in named] == ["self_rewarding", "past_only", "temporal"]


def test_the_runs_of_a_sweep_share_their_resources(composed: Compose) -> None:
    one, two = (composed("model=tiny", f"resources={name}") for name in ("laptop", "one_gpu"))
    with pytest.raises(Refused, match=r"resources: .* give a single value"):
        Sweep([one, two])
    assert [s.key for s in build_run(one).stages] == [s.key for s in build_run(two).stages]
    assert len(Sweep([one, composed("model=tiny", "resources=laptop", "k=2")]).runs) == 2


def test_every_setting_has_a_meaning() -> None:
    nameless = [name for name, _, _, meaning in rows(RunConfig()) if len(meaning) < 5]
    assert nameless == []


LIGHT = "import sys; {}; heavy = {{'torch', 'transformers', 'vllm', 'trl'}} & set(sys.modules)"


@pytest.mark.parametrize(
    "work",
    [
        "import tsr.run",
        "import tsr.plan.__main__ as p; p.show(['-q'][1:], False, True)",
        "import tsr.store.__main__",
    ],
)
def test_help_and_planning_import_nothing_heavy(work: str, tmp_path: Path) -> None:
    code = LIGHT.format(work) + "; assert not heavy, heavy"
    subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=tmp_path, capture_output=True, text=True
    )
