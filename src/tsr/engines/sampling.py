"""Drawing tokens so that a sample depends on its own seed only.

Imports torch: imported only by an engine that has a model to load.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import pad

# The cumulative sum over the vocabulary is taken in two levels, chunks and then inside one chunk.
CHUNK = 256
# Most nuclei are smaller than this; the whole vocabulary is sorted only for those that are not.
NUCLEUS = 512


def uniforms(seeds: Sequence[int], steps: int) -> torch.Tensor:
    """Numbers in [0, 1), fp64 [seeds, steps], each a function of its seed and step alone.

    Philox counts steps, so that asking for more steps leaves the earlier ones as they are; raw
    words, because numpy promises to keep those the same in all its versions.
    """
    words = np.stack([np.random.Philox(key=seed).random_raw(steps) for seed in seeds])
    return torch.from_numpy((words >> np.uint64(11)) * 2.0**-53)


def draw(
    logits: torch.Tensor, temperature: torch.Tensor, top_p: torch.Tensor, uniform: torch.Tensor
) -> torch.Tensor:
    """The token of each row: logits fp32 [B, V], the rest [B] -> [B]. Temperature 0 is greedy."""
    best = logits.argmax(-1)
    greedy = temperature == 0
    if greedy.all():
        return best
    # Greedy rows are divided by 1 and then overruled.
    probs = (logits / torch.where(greedy, 1, temperature)[:, None]).softmax(-1)
    if (top_p < 1).any():
        probs = nucleus(probs, top_p)
    return torch.where(greedy, best, inverse_cdf(probs, uniform))


def nucleus(probs: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """Zero all but the fewest likeliest tokens whose sum reaches top_p: [B, V], [B] -> [B, V]."""
    size = min(NUCLEUS, probs.shape[-1])
    top, order = probs.topk(size)
    if (top.sum(-1) < top_p).any():
        top, order = probs.sort(descending=True)
    before = top.cumsum(-1) - top
    kept = top * ((before < top_p[:, None]) | (top_p >= 1)[:, None])
    return torch.zeros_like(probs).scatter_(-1, order, kept)


def inverse_cdf(probs: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """The token at which the cumulative probability passes `uniform`: [B, V], [B] -> [B].

    Sums are fp64, so that the token does not depend on how a device adds up.
    """
    chunks = pad(probs, (0, -probs.shape[-1] % CHUNK)).view(len(probs), -1, CHUNK)
    chunk, rest = _passed(chunks.sum(-1).double(), uniform)
    rows = torch.arange(len(chunks), device=chunks.device)
    inside, _ = _passed(chunks[rows, chunk].double(), rest)
    return chunk * CHUNK + inside


def _passed(weights: torch.Tensor, share: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the running sum of weights [B, N] passes `share` of the total, and the share inside."""
    sums = pad(weights.cumsum(-1), (1, 0))
    target = (share * sums[:, -1])[:, None]
    # Only positions of positive weight are ever found: sums before <= target < sum after.
    index = (sums[:, 1:] <= target).sum(-1, keepdim=True)
    inside = (target - sums.gather(-1, index)) / weights.gather(-1, index)
    return index[:, 0], inside[:, 0].clamp(max=1 - 2**-53)
