"""Weights with an adapter merged into them, against PEFT's own merging."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tiny_models import build_tiny
from transformers import AutoModelForCausalLM

from tsr.engines.base import EngineError
from tsr.engines.merge import adapter_rank, merged_weights

FAMILIES = ("llama", "qwen")
FP32, BF16 = torch.float32, torch.bfloat16
ADAPTER, CONFIG = "adapter_model.safetensors", "adapter_config.json"
Weights = dict[str, torch.Tensor]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny model of each architecture; with biases as training leaves them, not zero."""
    made = {}
    for architecture in FAMILIES:
        folder = build_tiny(tmp_path_factory.mktemp(architecture), architecture)
        made[architecture] = folder
        weights = load_file(folder / "model.safetensors")
        torch.manual_seed(2)
        for name, weight in weights.items():
            if name.endswith(".bias"):
                weight.normal_()
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return made


@pytest.fixture(scope="module")
def base(bases: dict[str, Path]) -> Path:
    return bases["llama"]


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_adapter(base, tmp_path_factory.mktemp("adapter"))


@pytest.fixture
def changed(adapter: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the adapter with other settings or other tensors."""

    def change(
        settings: dict[str, Any], tensors: Callable[[Weights], Any] = lambda _: None
    ) -> Path:
        copy = shutil.copytree(adapter, tmp_path / "changed")
        config = json.loads((copy / CONFIG).read_text())
        (copy / CONFIG).write_text(json.dumps(config | settings))
        held = load_file(copy / ADAPTER)
        tensors(held)
        save_file(held, copy / ADAPTER)
        return copy

    return change


def save_adapter(base: Path, folder: Path, **settings: Any) -> Path:
    torch.manual_seed(3)
    chosen = {"r": 4, "lora_alpha": 6, "target_modules": "all-linear"} | settings
    config = LoraConfig(init_lora_weights=False, task_type="CAUSAL_LM", **chosen)
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)
    return folder


def by_peft(base: Path, adapter: Path | None, dtype: torch.dtype) -> Weights:
    """What the transformers engine has: merged in fp32, then rounded."""
    network = AutoModelForCausalLM.from_pretrained(base, dtype=FP32 if adapter else dtype)
    if adapter:
        network = PeftModel.from_pretrained(network, str(adapter)).merge_and_unload()
    state = network.state_dict()
    if network.config.tie_word_embeddings:
        del state["lm_head.weight"]  # the embeddings, once more
    return {name: weight.to(dtype) for name, weight in state.items()}


def ours(base: Path, adapter: Path | None, dtype: torch.dtype) -> Weights:
    named = list(merged_weights(base, adapter, dtype))
    weights = dict(named)
    assert len(named) == len(weights)  # each once
    return weights


def assert_same(mine: Weights, theirs: Weights) -> None:
    assert mine.keys() == theirs.keys()
    for name, weight in theirs.items():
        assert mine[name].dtype == weight.dtype
        assert torch.equal(mine[name], weight), name


def rounded(base: Path, folder: Path) -> Path:
    AutoModelForCausalLM.from_pretrained(base, dtype=BF16).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("dtype", [FP32, BF16])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_rslora": True, "r": 3},
        {"target_modules": ["q_proj", "down_proj"], "layers_to_transform": [1]},
    ],
)
@pytest.mark.parametrize("architecture", FAMILIES)
def test_the_weights_are_those_of_peft(
    bases: dict[str, Path],
    tmp_path: Path,
    architecture: str,
    settings: dict[str, Any],
    dtype: torch.dtype,
) -> None:
    base = bases[architecture]
    adapter = save_adapter(base, tmp_path, **settings)
    mine = ours(base, adapter, dtype)
    assert_same(mine, by_peft(base, adapter, dtype))
    plain = ours(base, None, dtype)
    assert any(name.endswith(".bias") for name in mine) == (architecture == "qwen")
    touched = {name for name in mine if not torch.equal(mine[name], plain[name])}
    held = load_file(adapter / ADAPTER)
    assert len(touched) == len(held) / 2 == (2 if "target_modules" in settings else 14)
    assert adapter_rank(adapter) == settings.get("r", 4)


@pytest.mark.parametrize("dtype", [FP32, BF16])
def test_without_an_adapter(bases: dict[str, Path], dtype: torch.dtype) -> None:
    for base in bases.values():
        assert_same(ours(base, None, dtype), by_peft(base, None, dtype))


@pytest.mark.parametrize("dtype", [FP32, BF16])
def test_a_base_in_bf16(base: Path, adapter: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    small = rounded(base, tmp_path)
    assert load_file(small / "model.safetensors")["lm_head.weight"].dtype == BF16
    assert_same(ours(small, adapter, dtype), by_peft(small, adapter, dtype))
    assert_same(ours(small, None, dtype), by_peft(small, None, dtype))


def test_tied_embeddings(base: Path, adapter: Path, tmp_path: Path) -> None:
    network = AutoModelForCausalLM.from_pretrained(base)
    network.config.tie_word_embeddings = True
    network.tie_weights()
    network.save_pretrained(tmp_path / "tied")
    tied = tmp_path / "tied"
    mine = ours(tied, adapter, FP32)
    assert "lm_head.weight" not in mine
    assert_same(mine, by_peft(tied, adapter, FP32))


def test_a_sharded_base_beside_other_files(base: Path, adapter: Path, tmp_path: Path) -> None:
    expected = ours(base, adapter, BF16)
    sharded = tmp_path / "sharded"
    AutoModelForCausalLM.from_pretrained(base).save_pretrained(sharded, max_shard_size="100KB")
    assert len(list(sharded.glob("model-*.safetensors"))) > 2
    for folder in (sharded, shutil.copytree(base, tmp_path / "whole")):
        shutil.copy(adapter / ADAPTER, folder)
        for name in ("optimizer", "model_ema", "model-00001-of-00009"):
            save_file({"lm_head.weight": torch.zeros(1)}, folder / f"{name}.safetensors")
        assert_same(ours(folder, adapter, BF16), expected)
    # As for transformers, a whole file comes first.
    shutil.copy(sharded / "model.safetensors.index.json", tmp_path / "whole")
    assert_same(ours(tmp_path / "whole", adapter, BF16), expected)


def test_what_is_not_a_number_to_round_stays(tmp_path: Path) -> None:
    save_file(
        {"steps": torch.tensor([2**30 + 1]), "w": torch.ones(2)}, tmp_path / "model.safetensors"
    )
    weights = ours(tmp_path, None, BF16)
    assert weights["steps"].item() == 2**30 + 1
    assert weights["w"].dtype == BF16


@pytest.mark.parametrize(
    "settings",
    [
        {"use_dora": True},
        {"rank_pattern": {"q_proj": 2}},
        {"alpha_pattern": {"q_proj": 2}},
        {"modules_to_save": ["lm_head"]},
        {"trainable_token_indices": [0, 1]},
        {"init_lora_weights": "pissa"},
        {"layer_replication": [[0, 2], [1, 2]]},
    ],
)
def test_more_than_a_and_b_is_refused(base: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    torch.manual_seed(3)
    config = LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM", **settings)
    network = AutoModelForCausalLM.from_pretrained(base)
    get_peft_model(network, config).save_pretrained(tmp_path)
    with pytest.raises(EngineError, match=f"cannot be merged, having {next(iter(settings))}"):
        merged_weights(base, tmp_path, FP32)


@pytest.mark.parametrize("target", ["embed_tokens", "lm_head"])
@pytest.mark.filterwarnings("ignore:.*save_embedding_layers:UserWarning")
def test_an_adapter_of_embeddings_is_refused(base: Path, tmp_path: Path, target: str) -> None:
    adapter = save_adapter(base, tmp_path, target_modules=[target, "q_proj"])
    with pytest.raises(
        EngineError, match=rf"cannot be merged: \S*{target}\S* is not one of a pair"
    ):
        merged_weights(base, adapter, FP32)


def test_another_kind_of_adapter_is_refused(base: Path, changed: Callable[..., Path]) -> None:
    with pytest.raises(EngineError, match="peft_type=ADALORA"):
        merged_weights(base, changed({"peft_type": "ADALORA"}), FP32)


def test_half_a_pair_is_refused(base: Path, changed: Callable[..., Path]) -> None:
    half = changed({}, lambda held: held.pop(max(held)))
    assert max(load_file(half / ADAPTER)).endswith("lora_A.weight")
    with pytest.raises(EngineError, match=r"lora_B\.weight is not one of a pair of A and B"):
        merged_weights(base, half, FP32)


@pytest.mark.parametrize("sharded", [False, True])
def test_an_adapter_of_another_model_is_refused(
    base: Path, changed: Callable[..., Path], tmp_path: Path, sharded: bool
) -> None:
    def deeper(held: Weights) -> None:
        held |= {name.replace(".layers.1.", ".layers.2."): t.clone() for name, t in held.items()}

    if sharded:
        network = AutoModelForCausalLM.from_pretrained(base)
        network.save_pretrained(tmp_path / "base", max_shard_size="100KB")
        base = tmp_path / "base"
    wanted = r"changes model\.layers\.2\.mlp\.down_proj\.weight, which is no weight of "
    with pytest.raises(EngineError, match=wanted):
        merged_weights(base, changed({}, deeper), FP32)


def test_an_adapter_of_a_wider_model_is_refused(base: Path, changed: Callable[..., Path]) -> None:
    def widen(held: Weights) -> None:
        held |= {name: t[:, :1].contiguous() for name, t in held.items() if "lora_A" in name}

    with pytest.raises(
        EngineError, match=r"lora_A\.weight is not made for a weight of \[\d+, \d+\]"
    ):
        list(merged_weights(base, changed({}, widen), FP32))


def test_files_that_are_not_there(base: Path, adapter: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    (old / "pytorch_model.bin").touch()
    shutil.copy(adapter / ADAPTER, old)
    shutil.copy(adapter / CONFIG, old)
    with pytest.raises(EngineError, match=r"holds no safetensors, so its weights cannot be pushed"):
        merged_weights(old, adapter, FP32)
    (old / ADAPTER).unlink()
    with pytest.raises(EngineError, match="holds no adapter_model"):
        merged_weights(base, old, FP32)
