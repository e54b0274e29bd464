"""What tsr adds to vLLM's worker: taking a model's weights, wherever the worker lives."""

from pathlib import Path
from typing import Any


class Weights:
    """Mixed into the worker by vLLM (`worker_extension_cls`)."""

    model_runner: Any

    def take_weights(self, base: str, adapter: str | None, dtype: str) -> None:
        """Replace all weights by those of a checkpoint, an adapter merged into them.

        Every worker of a tensor-parallel group reads the files itself and keeps its part.
        """
        import torch

        from tsr.engines.merge import merged_weights

        named = merged_weights(
            Path(base), Path(adapter) if adapter else None, getattr(torch, dtype)
        )
        self.model_runner.reload_weights(weights_iterator=named)
