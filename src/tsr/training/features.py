"""How alike chosen and rejected answers are to a model: cosine of hidden features (paper, Fig. 1).

The paper does not say how features are pooled; the mean over the answer's tokens is the default.
"""

from collections.abc import Sequence
from typing import Any

import torch

from tsr.config import DiagnoseConfig
from tsr.engines.base import ModelFiles
from tsr.training.common import load_frozen, load_tokenizer, token_ids
from tsr.workbench import Workbench


@torch.inference_mode()
def cosines(
    bench: Workbench,
    files: ModelFiles,
    rows: Sequence[dict[str, Any]],
    settings: DiagnoseConfig,
    max_length: int,
) -> dict[str, float]:
    """prompt id -> cosine in [-1, 1] of the two answers' features under the model."""
    model, tokenizer = load_frozen(files).eval(), load_tokenizer(files)
    model.to("cuda" if torch.cuda.is_available() else "cpu")

    def feature(row: dict[str, Any], side: str) -> torch.Tensor:
        before = token_ids(tokenizer, row["prompt"], True)
        ids = token_ids(tokenizer, row["prompt"] + row[side], False)[:max_length]
        inputs = torch.tensor([ids], device=model.device)
        hidden = model(inputs, output_hidden_states=True).hidden_states[settings.layer][0]
        answer = hidden[min(len(before), len(ids) - 1) :]  # [answer tokens, features]
        pooled: torch.Tensor = answer.mean(0) if settings.pooling == "mean" else answer[-1]
        return pooled

    found = {}
    with bench.progress("similarity: pairs", len(rows)) as progress:
        for row in rows:
            chosen, rejected = feature(row, "chosen"), feature(row, "rejected")
            found[row["prompt_id"]] = torch.cosine_similarity(chosen, rejected, dim=0).item()
            progress.advance()
    return found
