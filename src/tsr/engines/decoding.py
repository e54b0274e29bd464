"""Reading prompts and decoding samples with a causal language model of transformers.

Imports torch: imported only by an engine that has a model to load.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tsr.engines.attention import RoomyLayer, new_cache
from tsr.engines.sampling import draw, uniforms

Tokens = tuple[int, ...]
# What all prompts begin with is read apart where that saves so many tokens: it costs a forward.
WORTH = 256
# Tokens of one forward over prompts. Beyond a few thousand it only needs more memory, and on a CPU
# more time: what one layer hands to the next no longer fits the processor's cache.
FORWARD = 4096
# Finished rows leave the batch when they are one in so many: leaving copies the cache.
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

    mask: bool [B, L], False where a sequence was padded because others are longer.
    """

    def __init__(self, model: Any) -> None:
        self.model, self.cache = model, new_cache(model)
        self.mask = torch.ones(1, 0, dtype=torch.bool, device=model.device)

    def take(self, rows: torch.Tensor) -> None:
        """Go on with these rows [B'] only, in this order; a row may be taken more than once."""
        self.cache.batch_select_indices(rows)
        self.mask = self.mask[rows]

    def times(self, count: int) -> "Reading":
        """The only row that there is, `count` times; this reading stays as it is."""
        other = copy.copy(self)
        other.cache = copy.copy(self.cache)
        other.cache.layers = [copy.copy(layer) for layer in self.cache.layers]
        other.take(torch.zeros(count, dtype=torch.long, device=self.mask.device))
        return other

    def read(self, ids: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Read on, [B, S] each; returns the logits of the token that follows, fp32 [B, V]."""
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

    def read_rest(self, prompts: Sequence[Tokens], start: int) -> torch.Tensor:
        """Read each prompt from token `start` on, padded on the left; returns logits [B, V]."""
        rest = [prompt[start:] for prompt in prompts]
        longest = max(map(len, rest))
        ids = torch.tensor([(0,) * (longest - len(row)) + row for row in rest])
        real = torch.arange(longest) >= longest - torch.tensor([[len(row)] for row in rest])
        return self.read(ids.to(self.mask.device), real.to(self.mask.device))


def read_common(model: Any, prompts: Sequence[Tokens]) -> tuple[Reading, int]:
    """Read what all prompts begin with (B = 1), where that pays; and how many tokens it is."""
    reading = Reading(model)
    # Every prompt keeps a token of its own: the one whose logits are wanted.
    length = min(_common_length(prompts), min(map(len, prompts)) - 1)
    # Padding would stand between prefix and rest. A mask deals with that under full attention; a
    # window or a recurrent state would count it.
    full = all(type(layer) is RoomyLayer for layer in reading.cache.layers)
    if not full or length * (len(prompts) - 1) < WORTH:
        return reading, 0
    reading.read_rest([prompts[0][:length]], 0)
    return reading, length


def _common_length(prompts: Sequence[Tokens]) -> int:
    # In dictionary order all others lie between these two, and so begin with what both do.
    first, last = min(prompts), max(prompts)
    pairs = enumerate(zip(first, last, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(first), len(last)))


@torch.inference_mode()
def option_logprobs(
    model: Any, prompts: Sequence[Tokens], options: Sequence[Sequence[int]], rows: int
) -> list[list[float]]:
    """Natural-log probabilities of each prompt's options as its next token.

    Reads at most `rows` prompts at a time; prompts of like length should stand side by side.
    """
    found: list[list[float]] = []
    common, start = read_common(model, prompts)
    for part in _parts([len(p) - start for p in prompts], rows):
        logits = common.times(len(part)).read_rest([prompts[i] for i in part], start)
        wanted = [torch.tensor(options[i], device=logits.device) for i in part]
        chances = zip(logits.log_softmax(-1), wanted, strict=True)
        found += [row[ids].tolist() for row, ids in chances]
    return found


def _parts(lengths: Sequence[int], rows: int) -> Iterator[range]:
    """Runs of at most `rows` places whose padded tokens fit one forward."""
    start, longest = 0, 0
    for end, length in enumerate(lengths):
        longest = max(longest, length)
        if end > start and (end - start == rows or (end + 1 - start) * longest > FORWARD):
            yield range(start, end)
            start, longest = end, length
    yield range(start, len(lengths))


@torch.inference_mode()
def decode(
    model: Any, prompts: Sequence[Tokens], samples: Sequence[Sample], stops: Sequence[int]
) -> list[tuple[list[int], list[float]]]:
    """All samples side by side, each until a stop token or its limit.

    Returns the tokens of each, the stop included, and their log-probabilities at temperature 1.
    """
    common, start = read_common(model, prompts)
    reading = common.times(len(prompts))
    logits = reading.read_rest(prompts, start)
    prompt, limit, temperature, top_p, noise, stop = _columns(samples, stops, logits.device)
    reading.take(prompt)
    logits = logits[prompt]
    tokens, logprobs = torch.zeros_like(noise, dtype=torch.long), torch.zeros_like(noise)
    # Which sample each row of the batch makes, and whether it still goes on.
    live, going = torch.arange(len(samples), device=logits.device), limit > 0
    for step in range(noise.shape[1]):
        new = draw(logits, temperature[live], top_p[live], noise[live, step])
        # What a finished row writes lies behind its end, and is cut off below.
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
    return [_ended(t[: s.limit], p[: s.limit], stops) for s, t, p in made]


def _columns(
    samples: Sequence[Sample], stops: Sequence[int], device: torch.device
) -> list[torch.Tensor]:
    """Prompt, limit, temperature, top_p of the samples [N]; uniforms [N, steps]; stops."""
    names = ("prompt", "limit", "temperature", "top_p")
    columns = [torch.tensor([getattr(s, name) for s in samples]) for name in names]
    noise = uniforms([s.seed for s in samples], max(s.limit for s in samples))
    return [column.to(device) for column in (*columns, noise, torch.tensor(stops))]


def _ended(
    tokens: list[int], logprobs: list[float], stops: Sequence[int]
) -> tuple[list[int], list[float]]:
    end = next((i + 1 for i, token in enumerate(tokens) if token in stops), len(tokens))
    return tokens[:end], logprobs[:end]
