"""The engine that needs nothing but transformers: any causal model, on a CPU or one GPU."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from tsr.engines.base import Answer, ModelFiles, Request, check_files
from tsr.engines.chat import Chat, Tokens
from tsr.engines.network import NetworkEngine, device_of

if TYPE_CHECKING:
    from tsr.engines.decoding import Sample

T = TypeVar("T")
# (number of the request, sample) -> answer
Made = dict[tuple[int, int], Answer]


@dataclass(frozen=True)
class _Loaded:
    """A model in memory; `stops` are the tokens that end its turn."""

    name: str
    network: Any
    chat: Chat
    stops: tuple[int, ...]
    context: int


@dataclass(frozen=True)
class _Asked:
    """A request and its prompt; `number` is its place among the requests."""

    number: int
    request: Request
    prompt: Tokens


class TransformersEngine(NetworkEngine[_Loaded]):
    """Answers with one model at a time; see tsr.engines.base.Engine.

    A sample depends on the model, its request and its seed. What else is in its batch enters only
    through the rounding of sums, so the same call gives the same bytes, and two calls that hold the
    same request in other company may differ after a near tie (in bf16 rather than in fp32).

    batch_size: samples decoded together. device: `auto` takes a GPU where there is one.
    attention: transformers' name of an attention; `sdpa` is torch's, without its waste in decoding.
    threads: CPU threads of this process from the first load on; None leaves torch's choice.
    context: a limit below the model's own.
    """

    def __init__(
        self,
        dtype: str,
        batch_size: int = 64,
        device: str = "auto",
        attention: str = "sdpa",
        threads: int | None = None,
        context: int | None = None,
    ) -> None:
        self.dtype, self.batch_size, self.device = dtype, batch_size, device
        self.attention, self.threads, self.most = attention, threads, context

    def load(self, model: ModelFiles) -> None:
        """Read base and adapter from disk, unless this very model is loaded."""
        if self._loaded is not None and self._loaded.name == model.name:
            return
        check_files(model)
        chat = Chat(model)
        self.close()
        if self.threads is not None:
            import torch

            torch.set_num_threads(self.threads)
        network = _network(model, self.dtype, self.device, self.attention)
        context = network.config.get_text_config().max_position_embeddings
        context = min(context, self.most or context)
        stops = chat.stops(network.generation_config)
        self._loaded = _Loaded(model.name, network, chat, stops, context)

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """All samples of all requests, in their order; batches hold prompts of like length."""
        prompts = self._model.chat.prompts(requests)
        asked = [_Asked(i, r, p) for i, (r, p) in enumerate(zip(requests, prompts, strict=True))]
        fitting = sorted(filter(self._fits, asked), key=lambda a: len(a.prompt))
        made = self._texts([a for a in fitting if not a.request.options])
        if choosing := [a for a in fitting if a.request.options]:
            made |= self._options(choosing)
        return [
            made.get((a.number, j)) or _without_text(a, j, "too_long")
            for a in asked
            for j in range(len(a.request.seeds))
        ]

    def lengths(self, requests: Sequence[Request]) -> list[int]:
        """Prompt length of each request in tokens, template and opening included."""
        return [len(prompt) for prompt in self._model.chat.prompts(requests)]

    def _fits(self, asked: _Asked) -> bool:
        new = 1 if asked.request.options else asked.request.max_new_tokens
        return len(asked.prompt) + new <= self._model.context

    def _texts(self, asked: Sequence[_Asked]) -> Made:
        """Decoded answers, in batches of about `batch_size` samples."""
        from tsr.engines.decoding import decode

        loaded, answers = self._model, Made()
        rows = [(a, j) for a in asked for j in range(len(a.request.seeds))]
        for batch in _even_parts(rows, self.batch_size):
            # Each prompt once: the samples of a request share it.
            place = {p: i for i, p in enumerate(dict.fromkeys(a.prompt for a, _ in batch))}
            samples = [_sample(place[a.prompt], a.request, j) for a, j in batch]
            made = decode(loaded.network, list(place), samples, loaded.stops)
            for (a, j), (tokens, logprobs) in zip(batch, made, strict=True):
                answers[a.number, j] = self._answer(a, j, tokens, logprobs)
        return answers

    def _options(self, asked: Sequence[_Asked]) -> Made:
        """Log-probabilities of options; the samples of a request are all the same."""
        from tsr.engines.decoding import option_logprobs

        loaded = self._model
        ids = [loaded.chat.options(a.request) for a in asked]
        prompts = [a.prompt for a in asked]
        found = option_logprobs(loaded.network, prompts, ids, self.batch_size)
        answers = Made()
        for a, logprobs in zip(asked, found, strict=True):
            options = dict(zip(a.request.options, logprobs, strict=True))
            answers |= {
                (a.number, j): _without_text(a, j, "options", options)
                for j in range(len(a.request.seeds))
            }
        return answers

    def _answer(
        self, asked: _Asked, sample: int, tokens: list[int], logprobs: list[float]
    ) -> Answer:
        return Answer(
            asked.request.id,
            sample,
            self._model.chat.text(tokens),
            "stop" if tokens[-1] in self._model.stops else "length",
            len(tokens),
            len(asked.prompt),
            tuple(logprobs) if asked.request.logprobs else None,
        )


def _sample(prompt: int, request: Request, number: int) -> "Sample":
    from tsr.engines.decoding import Sample

    seed, limit = request.seeds[number], request.max_new_tokens
    return Sample(prompt, seed, request.temperature, request.top_p, limit)


def _without_text(
    asked: _Asked, sample: int, finish: str, options: dict[str, float] | None = None
) -> Answer:
    return Answer(asked.request.id, sample, "", finish, 0, len(asked.prompt), None, options)


def _even_parts(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """As few parts as hold at most `size` each, of about equal size."""
    parts = math.ceil(len(items) / size)
    return [items[len(items) * i // parts : len(items) * (i + 1) // parts] for i in range(parts)]


def _network(model: ModelFiles, dtype: str, device: str, attention: str) -> Any:
    """The network in eval mode, an adapter merged into it in fp32."""
    import torch
    from transformers import AutoModelForCausalLM

    from tsr.engines.attention import use_grouped

    wanted = torch.bfloat16 if dtype == "bf16" else torch.float32
    network = AutoModelForCausalLM.from_pretrained(
        model.base,
        dtype=torch.float32 if model.adapter else wanted,
        attn_implementation=attention,
        trust_remote_code=model.trust_remote_code,
        local_files_only=True,
    )
    if model.adapter:
        from peft import PeftModel

        network = PeftModel.from_pretrained(network, str(model.adapter)).merge_and_unload()
        # Parameters only: the rotary frequencies are buffers, and stay fp32 as when loaded in bf16.
        for parameter in network.parameters():
            parameter.data = parameter.data.to(wanted)
    if attention == "sdpa":
        use_grouped(network)
    return network.to(device_of(device)).eval()
