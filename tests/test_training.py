"""Real TRL training of tiny models: what it starts from, what it refuses, how it resumes."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest

from tsr.config import DPOConfig, SFTConfig
from tsr.data.rows import Row
from tsr.engines.base import ModelFiles
from tsr.jsonl import read_jsonl
from tsr.models import tiny
from tsr.stages.model import TINY, _template
from tsr.training.outcome import NoPairs, TrainingError

pytestmark = pytest.mark.slow

LORA = {"method": "lora", "lora_rank": 4, "learning_rate": 1e-2}
COMMON: dict[str, Any] = {
    "batch_size": 4, "micro_batch": 4, "precision": "fp32", "max_length": 256,
    "max_prompt_length": 128, "gradient_checkpointing": False, "checkpoint_steps": 1,
}  # fmt: skip


class Killed(BaseException):
    """Stands for SIGKILL: nothing may catch it."""


@dataclass
class Bench:
    folder: Path
    killed_at: int | None = None

    @contextmanager
    def progress(self, what: str, total: int, done: int = 0) -> Iterator["Bench"]:
        self.done = 0
        yield self

    def advance(self, amount: int = 1) -> None:
        self.done += amount
        if self.killed_at is not None and self.done >= self.killed_at:
            raise Killed


def bench(folder: Path, killed_at: int | None = None) -> Bench:
    folder.mkdir(exist_ok=True)
    return Bench(folder, killed_at)


@pytest.fixture(scope="module", params=["llama", "qwen", "mistral"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    return built(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    return built("llama", tmp_path_factory.mktemp("one"))


def built(architecture: str, folder: Path) -> ModelFiles:
    template, end = TINY[architecture]
    tiny.build(
        folder, architecture=architecture, seed=0, chat_template=str(_template(template)),
        eos_token=end,
    )  # fmt: skip
    return ModelFiles(architecture, folder)


def pairs(count: int = 12) -> list[dict[str, Any]]:
    return [
        {
            "prompt": [{"role": "user", "content": f"Say something about {n}."}],
            "chosen": [{"role": "assistant", "content": f"{n} is a number " * (1 + n % 3)}],
            "rejected": [{"role": "assistant", "content": "No."}],
        }
        for n in range(count)
    ]


def dpo(folder: Path, start: ModelFiles, reference: ModelFiles | None = None,
        killed_at: int | None = None, rows: list[dict[str, Any]] | None = None,
        **settings: Any) -> dict[str, Any]:  # fmt: skip
    from tsr.training import dpo as training

    recipe = DPOConfig(**(COMMON | LORA | settings))
    return training.train(
        bench(folder, killed_at), start, reference or start, rows or pairs(), recipe, 0
    )


def log(folder: Path) -> list[dict[str, Any]]:
    return list(read_jsonl(folder / "training.jsonl"))


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    (file,) = [*folder.glob("adapter/*.safetensors"), *folder.glob("model/*.safetensors")]
    return load_file(file)


def same(a: Path, b: Path) -> bool:
    left, right = weights(a), weights(b)
    return left.keys() == right.keys() and all(left[k].equal(right[k]) for k in left)


def test_dpo_starts_at_ln_2_and_opens_a_margin(base: ModelFiles, tmp_path: Path) -> None:
    figures = dpo(tmp_path / "a", base, epochs=3)
    assert figures["first_loss"] == pytest.approx(math.log(2), abs=1e-3)
    assert figures["margin"] > 0.1
    assert figures["steps"] == 9
    row = log(tmp_path / "a")[-1]
    wanted = {"loss", "grad_norm", "learning_rate", "rewards/margins", "rewards/chosen",
              "rewards/rejected", "logps/chosen", "logps/rejected"}  # fmt: skip
    assert wanted <= set(row)


def test_a_chain_of_adapters_starts_at_ln_2_each_time(llama: ModelFiles, tmp_path: Path) -> None:
    dpo(tmp_path / "1", llama, epochs=3)
    second = replace(llama, name="m1", adapter=tmp_path / "1" / "adapter")
    figures = dpo(tmp_path / "2", second)
    assert figures["first_loss"] == pytest.approx(math.log(2), abs=1e-3)
    assert {p.name for p in (tmp_path / "2" / "adapter").iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors"
    }  # fmt: skip
    assert not same(tmp_path / "1", tmp_path / "2")


def test_another_reference_is_really_another_one(llama: ModelFiles, tmp_path: Path) -> None:
    dpo(tmp_path / "1", llama, epochs=3)
    m1 = replace(llama, name="m1", adapter=tmp_path / "1" / "adapter")
    against_m0 = dpo(tmp_path / "2", m1, reference=llama)
    assert against_m0["first_loss"] < math.log(2) - 0.01, "M1 already prefers the chosen to M0"


def test_full_training_from_an_adapter_merges_it(llama: ModelFiles, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    dpo(tmp_path / "1", llama)
    m1 = replace(llama, name="m1", adapter=tmp_path / "1" / "adapter")
    full = {"method": "full", "lora_rank": None, "learning_rate": 1e-4}
    figures = dpo(tmp_path / "2", m1, **full)
    assert figures["first_loss"] == pytest.approx(math.log(2), abs=1e-3)
    AutoModelForCausalLM.from_pretrained(tmp_path / "2" / "model")
    assert AutoTokenizer.from_pretrained(tmp_path / "2" / "model").chat_template


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_killed_training_ends_with_the_same_weights(
    llama: ModelFiles, tmp_path: Path, method: str
) -> None:
    settings: dict[str, Any] = {"epochs": 2}
    if method == "full":
        settings |= {"method": "full", "lora_rank": None, "learning_rate": 1e-3}
    dpo(tmp_path / "straight", llama, **settings)
    for step in (2, 4):
        with pytest.raises(Killed):
            dpo(tmp_path / "killed", llama, killed_at=step, **settings)
    (tmp_path / "killed" / "trainer" / "checkpoint-9").mkdir()  # cut off in mid-writing
    dpo(tmp_path / "killed", llama, **settings)
    assert same(tmp_path / "straight", tmp_path / "killed")
    steps = [row["step"] for row in log(tmp_path / "killed")]
    assert steps == [1, 2, 3, 4, 5, 6]
    losses = [[row["loss"] for row in log(tmp_path / name)] for name in ("straight", "killed")]
    assert losses[0] == losses[1]


def test_small_learning_rates_move_fp32_weights(llama: ModelFiles, tmp_path: Path) -> None:
    """At the paper's 5e-7 an update is lost in bf16 weights; the default keeps it."""
    import torch
    from safetensors.torch import load_file

    dpo(tmp_path / "a", llama, method="full", lora_rank=None, learning_rate=5e-7, epochs=4,
        precision="bf16")  # fmt: skip
    before = load_file(llama.base / "model.safetensors")
    after = weights(tmp_path / "a")
    moved = [k for k in after if not torch.equal(after[k].float(), before[k].float())]
    assert len(moved) == len(after)
    kept = [k for k in after if torch.equal(after[k].bfloat16(), before[k].bfloat16())]
    assert kept, "in bf16 some of these updates would have vanished"


def test_a_loss_that_is_not_a_number_stops_with_its_numbers(
    llama: ModelFiles, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=r"step \d+: loss .*; lower the learning rate"):
        dpo(tmp_path / "a", llama, learning_rate=1e30, epochs=4, max_grad_norm=1e30)


def test_prompts_over_the_limit_are_left_out_and_counted(llama: ModelFiles, tmp_path: Path) -> None:
    long = pairs(1)[0] | {"prompt": [{"role": "user", "content": "word " * 60}]}
    figures = dpo(tmp_path / "a", llama, rows=[*pairs(4), long])
    assert (figures["pairs"], figures["prompt_too_long"]) == (4, 1)
    with pytest.raises(NoPairs, match="all 1 pairs have prompts over 128 tokens"):
        dpo(tmp_path / "b", llama, rows=[long])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"lora_rank": 8}, "lora_rank=8, .* brings an adapter with 4, 32 and 0.1"),
        ({"lora_alpha": 8}, "lora_alpha=8, .* with 4, 32 and 0.1"),
        ({"lora_dropout": 0.2}, "lora_dropout=0.2: .* with 4, 32 and 0.1"),
    ],
)
def test_another_adapter_is_refused(
    llama: ModelFiles, tmp_path: Path, settings: dict[str, Any], told: str
) -> None:
    m1 = replace(llama, name="m1", adapter=untrained(llama, tmp_path / "1", lora_dropout=0.1))
    with pytest.raises(TrainingError, match=told):
        dpo(tmp_path / "2", m1, **({"lora_dropout": 0.1} | settings))


def untrained(start: ModelFiles, folder: Path, **settings: Any) -> Path:
    """The folder of a new adapter whose weights are always the same random numbers."""
    import torch
    from peft import get_peft_model

    from tsr.training import common

    config = common.new_adapter(start, DPOConfig(**(COMMON | LORA | settings)))
    config.init_lora_weights = False
    torch.manual_seed(0)
    get_peft_model(common.load_frozen(start), config).save_pretrained(folder)
    return folder


def test_a_reference_has_no_dropout(
    llama: ModelFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What TRL says of the reference of a continued adapter is what it says without dropout."""
    from tsr.training import dpo as training

    seen: list[Any] = []
    ours = training._Trainer.compute_ref_log_probs

    def keep(self: Any, model: Any, inputs: Any) -> Any:
        found = ours(self, model, inputs)
        seen[-1] += [float(value) for side in found for value in side]
        return found

    monkeypatch.setattr(training._Trainer, "compute_ref_log_probs", keep)
    for dropout in (0.0, 0.5):
        seen.append([])
        adapter = untrained(llama, tmp_path / f"from {dropout}", lora_dropout=dropout)
        dpo(tmp_path / f"to {dropout}", replace(llama, name="m1", adapter=adapter),
            lora_dropout=dropout)  # fmt: skip
    assert len(seen[0]) == 24
    assert seen[1] == pytest.approx(seen[0], abs=1e-4)


@pytest.mark.parametrize("trainer", ["dpo", "sft"])
def test_one_process_that_sees_several_gpus_uses_one(
    llama: ModelFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trainer: str
) -> None:
    """transformers counts GPUs like this even where the device is a CPU; TRL refuses to share."""
    import torch

    from tsr.training import common, sft

    arguments = common.arguments
    monkeypatch.setattr(common, "arguments", lambda *a: arguments(*a) | {"use_cpu": False})
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    if trainer == "dpo":
        assert dpo(tmp_path / "a", llama)["steps"] == 3
    else:
        rows = [Row(str(n), f"Count to {n}.", "one two") for n in range(8)]
        recipe = SFTConfig(**(COMMON_SFT | LORA | {"epochs": 1}))
        assert sft.train(bench(tmp_path / "a"), llama, rows, recipe, 0)["steps"] == 2


def test_losses_can_be_combined(llama: ModelFiles, tmp_path: Path) -> None:
    plain = dpo(tmp_path / "a", llama)
    both = dpo(tmp_path / "b", llama, loss=["sigmoid", "sft"], loss_weights=[1.0, 0.5])
    assert both["first_loss"] > plain["first_loss"] + 0.1


def test_sft_counts_the_loss_on_answers_only(base: ModelFiles, tmp_path: Path) -> None:
    """Prompts are noise that nobody can learn: the loss nears zero only if they do not count."""
    from tsr.training import sft

    rows = [Row(str(n), uuid5(NAMESPACE_URL, str(n)).hex, "yes, of course") for n in range(16)]
    recipe = SFTConfig(**(COMMON_SFT | LORA | {"method": "full", "lora_rank": None, "epochs": 15}))
    figures = sft.train(bench(tmp_path / "a"), base, rows, recipe, 0)
    assert figures["first_loss"] > 2
    assert figures["loss"] < 0.3


def test_a_judgement_is_learnt_after_what_the_judge_is_asked(tmp_path: Path) -> None:
    from tsr.config import JudgeConfig
    from tsr.data.load import read_rows
    from tsr.judges.base import Case
    from tsr.judges.self_judge import SelfJudge
    from tsr.training.sft import _conversation

    asked = SelfJudge.of(JudgeConfig()).request(Case("1", "Why?", (), "Because.")).messages
    told = {"role": "assistant", "content": "Short. Score: 2"}
    file = tmp_path / "eft.jsonl"
    file.write_text(json.dumps({"messages": [*asked, told]}))
    (row,) = read_rows(file)
    assert _conversation(row) == {"prompt": list(asked), "completion": [told]}
    assert [turn["role"] for turn in asked] == ["system", "user"]


COMMON_SFT = {k: v for k, v in COMMON.items() if k != "max_prompt_length"}
