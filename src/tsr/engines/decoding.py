"""Reading prompts and decoding samples with a causal language model of transformers.

Imports torch: imported only by an engine that has a model to load.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from os.path import commonprefix
from typing import Any

import torch

from tsr.engines.attention import new_cache
from tsr.engines.sampling import draw, uniforms

Tokens = list[int]
# A common prefix is read by itself where that saves this many tokens: an extra forward costs too.
WORTH = 64
# Finished rows are taken out of the batch when they are one in so many: taking out copies the cache.
FINISHED = 8


@dataclass(frozen=True)
class Sample:
    """One continuation to be made of prompt number `prompt`."""

    prompt: int
    seed: int
    temperature: float
    top_p: float
    limit: int


class Reading:
    """What a model has read so far of B sequences: its cache, and which of the places are real.

    mask: bool [B, L], False where a sequence was padded for the sake of longer ones.
    """

    def __init__(self, model: Any) -> None:
        self.model, self.cache = model, new_cache(model)
        self.mask = torch.ones(1, 0, dtype=torch.bool, device=model.device)

    def take(self, rows: torch.Tensor) -> None:
        """Go on with these rows [B'] only, in this order; a row may be taken more than once."""
        self.cache.batch_select_indices(rows)
        self.mask = self.mask[rows]

    def read(self, ids: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Read on, [B, S] each: returns the logits of the token that follows, fp32 [B, V]."""
        self.mask = torch.cat([self.mask, real], 1)
        places = (self.mask.cumsum(1) - 1)[:, -ids.shape[1] :]
        out = self.model(
            input_ids=ids,
            attention_mask=self.mask,
            position_ids=places.clamp(min=0),
            past_key_values=self.cache,
            logits_to_keep=1,
        )
        logits: torch.Tensor = out.logits[:, -1].float()
        return logits


def read_prompts(
    model: Any, prompts: Sequence[Tokens], share: bool = True
) -> tuple[Reading, torch.Tensor]:
    """Read all prompts, what they all begin with only once. Returns next-token logits [B, V]."""
    reading = Reading(model)
    # Each prompt keeps a token of its own: the one whose logits are wanted.
    prefix = commonprefix(prompts)[: min(map(len, prompts)) - 1]
    if not share or len(prefix) * (len(prompts) - 1) < WORTH:
        prefix = []
    if prefix:
        reading.read(*_padded([prefix], model.device))
    reading.take(torch.zeros(len(prompts), dtype=torch.long, device=model.device))
    rest = [prompt[len(prefix) :] for prompt in prompts]
    return reading, reading.read(*_padded(rest, model.device))


def _padded(rows: Sequence[Tokens], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids [B, S], padded on the left with 0, and which of them are real."""
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    real = torch.arange(longest) >= longest - torch.tensor([[len(row)] for row in rows])
    return ids.to(device), real.to(device)


@dataclass(frozen=True)
class Made:
    """Tokens of a sample, the one that ended the turn included, and their log-probabilities."""

    tokens: Tokens
    logprobs: list[float]


@torch.inference_mode()
def decode(
    model: Any, prompts: Sequence[Tokens], samples: Sequence[Sample], stops: Sequence[int]
) -> list[Made]:
    """All samples side by side, each until a stop token or its limit."""
    reading, logits = read_prompts(model, prompts)
    prompt, limit, temperature, top_p, noise, stop = _on(model.device, samples, stops)
    reading.take(prompt)
    logits = logits[prompt]
    tokens, logprobs = torch.zeros_like(noise, dtype=torch.long), torch.zeros_like(noise)
    # The sample that each row of the batch makes, and whether it still does.
    live, going = torch.arange(len(samples), device=model.device), torch.ones_like(prompt) > 0
    for step in range(noise.shape[1]):
        new = draw(logits, temperature[live], top_p[live], noise[live, step])
        # What finished rows write here lies behind their end, and is cut off with it.
        tokens[live, step] = new
        logprobs[live, step] = logits.log_softmax(-1).gather(-1, new[:, None])[:, 0].double()
        going = going & ~torch.isin(new, stop) & (step + 1 < limit[live])
        if not going.any():
            break
        if (~going).sum() * FINISHED >= len(going):
            reading.take(going.nonzero()[:, 0])
            live, new, going = live[going], new[going], going[going]
        logits = reading.read(new[:, None], going[:, None])
    made = zip(samples, tokens.tolist(), logprobs.tolist(), strict=True)
    return [_cut(Made(t[: s.limit], p[: s.limit]), set(stops)) for s, t, p in made]


def _on(device: torch.device, samples: Sequence[Sample], stops: Sequence[int]) -> list[torch.Tensor]:
    """The samples' settings as tensors [N], their random numbers [N, steps], the stop tokens."""
    columns: list[Any] = [[getattr(s, name) for s in samples] for name in ("prompt", "limit", "temperature", "top_p")]
    noise = uniforms([s.seed for s in samples], max(s.limit for s in samples))
    return [c.to(device) for c in (*map(torch.tensor, columns), noise, torch.tensor(stops))]


def _cut(made: Made, stops: set[int]) -> Made:
    end = next((i + 1 for i, token in enumerate(made.tokens) if token in stops), None)
    return Made(made.tokens[:end], made.logprobs[:end])


@torch.inference_mode()
def next_logprobs(model: Any, prompts: Sequence[Tokens], share: bool = True) -> torch.Tensor:
    """Natural-log probabilities of the token that follows each prompt: fp32 [B, V]."""
    return read_prompts(model, prompts, share)[1].log_softmax(-1)
