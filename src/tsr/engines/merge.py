"""A model's weights one by one, its adapter merged into them: never two copies in memory.

Imports torch: imported only by an engine that has weights to push.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from tsr.engines.base import EngineError

Named = Iterator[tuple[str, torch.Tensor]]
_PREFIX = "base_model.model."
# Settings of an adapter under which W + scale * B A is not all there is to it.
_MORE = ("use_dora", "rank_pattern", "alpha_pattern", "modules_to_save", "fan_in_fan_out")


def merged_weights(base: Path, adapter: Path | None, dtype: torch.dtype) -> Named:
    """Each weight of a checkpoint in `dtype`; merging is done in fp32, as PEFT does it.

    Raises EngineError for a checkpoint without safetensors and for an adapter that is more than
    pairs of A and B.
    """
    deltas = _Deltas(adapter) if adapter else None
    for file in _files(base):
        tensors = _open(file)
        for name in tensors.keys():  # noqa: SIM118 - not a mapping
            weight = tensors.get_tensor(name)
            if deltas is not None and name in deltas.pairs:
                weight = weight.float() + deltas.delta(name)
            yield name, weight.to(dtype)


def adapter_rank(adapter: Path) -> int:
    """The rank that an adapter's config states."""
    return int(_config(adapter)["r"])


class _Deltas:
    """What an adapter adds, by the name of the weight."""

    def __init__(self, adapter: Path) -> None:
        config = _config(adapter)
        more = [name for name in _MORE if config.get(name)]
        if more:
            raise EngineError(f"{adapter}: cannot be merged, having {', '.join(more)}")
        rank = int(config["r"])
        self.scale: float = config["lora_alpha"] / (
            math.sqrt(rank) if config.get("use_rslora") else rank
        )
        self.tensors = _open(adapter / "adapter_model.safetensors")
        names = set(self.tensors.keys())
        self.pairs = {_weight_of(n): n for n in names if n.endswith(".lora_A.weight")}
        strange = names - {f for n in self.pairs.values() for f in (n, _second(n))}
        if strange:
            raise EngineError(f"{adapter}: cannot be merged, holding {sorted(strange)[0]}")

    def delta(self, name: str) -> torch.Tensor:
        """Scale x B A [out, in], fp32."""
        first = self.pairs[name]
        a, b = self.tensors.get_tensor(first), self.tensors.get_tensor(_second(first))
        product: torch.Tensor = b.float() @ a.float()
        return product * self.scale


def _open(file: Path) -> Any:
    """Read tensor by tensor, from mapped memory."""
    return safe_open(file, "pt")


def _weight_of(first: str) -> str:
    return first.removeprefix(_PREFIX).removesuffix(".lora_A.weight") + ".weight"


def _second(first: str) -> str:
    return first.replace(".lora_A.", ".lora_B.")


def _config(adapter: Path) -> dict[str, Any]:
    return dict(json.loads((adapter / "adapter_config.json").read_text()))


def _files(base: Path) -> list[Path]:
    files = sorted(base.glob("model*.safetensors"))
    if not files:
        raise EngineError(f"{base} holds no safetensors, so its weights cannot be pushed")
    return files
