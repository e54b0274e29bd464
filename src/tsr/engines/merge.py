"""A model's weights one by one, its adapter merged into them: never two copies in memory.

Imports torch: imported only by an engine that has weights to push.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from tsr.engines.base import EngineError

Named = Iterator[tuple[str, torch.Tensor]]
_PREFIX = "base_model.model."
# Settings of an adapter under which W + scale * B A is not all there is to it.
_MORE = (
    *("use_dora", "rank_pattern", "alpha_pattern", "modules_to_save", "fan_in_fan_out"),
    *("lora_bias", "layer_replication", "target_parameters", "trainable_token_indices"),
    *("alora_invocation_tokens", "use_qalora", "use_bdlora", "arrow_config", "velora_config"),
    *("monteclora_config", "kasa_config", "megatron_config"),
)
# Ways to begin training an adapter that leave the weights under it as they are.
_PLAIN_STARTS = (True, False, None, "gaussian", "orthogonal", "eva")


def merged_weights(base: Path, adapter: Path | None, dtype: torch.dtype) -> Named:
    """Each weight of a checkpoint in `dtype`; merging is done in fp32, as PEFT does it.

    Raises EngineError, before the first weight, for a checkpoint without safetensors and for an
    adapter that is more than pairs of A and B, or not of this checkpoint.
    """
    files = _files(base)
    deltas = _Deltas(adapter) if adapter else None
    if deltas is not None:
        deltas.check(base, {name for names in files.values() for name in names})
    return _weights(files, deltas, dtype)


def adapter_rank(adapter: Path) -> int:
    """The rank that an adapter's config states."""
    return int(_config(adapter)["r"])


class _Deltas:
    """What an adapter adds, by the name of the weight."""

    def __init__(self, adapter: Path) -> None:
        config = _config(adapter)
        more = [name for name in _MORE if config.get(name)]
        start = config.get("init_lora_weights", True)
        if start not in _PLAIN_STARTS:
            more.append(f"init_lora_weights={start}")
        if config.get("peft_type", "LORA") != "LORA":
            more.append(f"peft_type={config['peft_type']}")
        if more:
            raise EngineError(f"{adapter}: cannot be merged, having {', '.join(more)}")
        rank = int(config["r"])
        self.scale: float = config["lora_alpha"] / (
            math.sqrt(rank) if config.get("use_rslora") else rank
        )
        file = adapter / "adapter_model.safetensors"
        if not file.is_file():
            raise EngineError(f"{adapter} holds no adapter_model.safetensors")
        self.adapter, self.tensors = adapter, _open(file)
        names = set(self.tensors.keys())
        self.pairs = {_weight_of(n): n for n in names if n.endswith(".lora_A.weight")}
        strange = names ^ {f for n in self.pairs.values() for f in (n, _second(n))}
        if strange:
            raise EngineError(
                f"{adapter}: cannot be merged: {min(strange)} is not one of a pair of A and B"
            )

    def check(self, base: Path, names: set[str]) -> None:
        """Raise EngineError where the checkpoint lacks a weight that the adapter changes."""
        missing = self.pairs.keys() - names
        if missing:
            raise EngineError(
                f"{self.adapter} changes {min(missing)}, which is no weight of {base}: is it an "
                "adapter of that model?"
            )

    def merged(self, name: str, weight: torch.Tensor) -> torch.Tensor:
        """W + scale x B A, fp32; W as it is where there is nothing to add."""
        if name not in self.pairs:
            return weight
        first = self.pairs[name]
        a, b = self.tensors.get_tensor(first), self.tensors.get_tensor(_second(first))
        if (*b.shape[:1], *a.shape[1:]) != weight.shape:
            raise EngineError(
                f"{self.adapter}: {first} is not made for a weight of {list(weight.shape)}"
            )
        product: torch.Tensor = b.float() @ a.float()
        return weight.float() + product * self.scale


def _weights(files: Mapping[Path, Sequence[str]], deltas: _Deltas | None, to: torch.dtype) -> Named:
    for file, names in files.items():
        tensors = _open(file)
        for name in names:
            weight = tensors.get_tensor(name)
            if deltas is not None:
                weight = deltas.merged(name, weight)
            yield name, weight.to(to) if weight.is_floating_point() else weight


def _open(file: Path) -> Any:
    """Read tensor by tensor, from mapped memory."""
    return safe_open(file, "pt")


def _weight_of(first: str) -> str:
    return first.removeprefix(_PREFIX).removesuffix(".lora_A.weight") + ".weight"


def _second(first: str) -> str:
    return first.replace(".lora_A.", ".lora_B.")


def _config(adapter: Path) -> dict[str, Any]:
    return dict(json.loads((adapter / "adapter_config.json").read_text()))


def _files(base: Path) -> dict[Path, list[str]]:
    """The names of the weights in each file, of those that transformers would read."""
    whole, index = base / "model.safetensors", base / "model.safetensors.index.json"
    if whole.is_file():
        return {whole: list(_open(whole).keys())}
    if not index.is_file():
        raise EngineError(f"{base} holds no safetensors, so its weights cannot be pushed")
    files: dict[Path, list[str]] = {}
    for name, file in json.loads(index.read_text())["weight_map"].items():
        files.setdefault(base / file, []).append(name)
    return files
