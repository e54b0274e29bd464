"""vLLM in this process: the fast engine. It stays up while models change.

vLLM is an extra and is imported by the first load only. See `tsr.engines.process` for an engine in
a process of its own, and `tsr.engines.replicas` for several that share the work.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tsr.config import EngineConfig
from tsr.engines import vllm_start
from tsr.engines.base import Answer, EngineError, ModelFiles, Request, check_files
from tsr.engines.chat import Chat, Tokens
from tsr.resources import ResourcesConfig

# What may differ between checkpoints that one running engine holds one after the other.
_INCIDENTAL = (
    *("_name_or_path", "dtype", "torch_dtype", "transformers_version", "use_cache"),
    *("bos_token_id", "eos_token_id", "pad_token_id"),
)


@dataclass(frozen=True)
class _Ask:
    """One call of vLLM: a sample of a request, or its options."""

    number: int
    sample: int
    request: Request
    prompt: Tokens
    model: ModelFiles


class VLLMEngine:
    """Answers with vLLM; see tsr.engines.base.Engine.

    A sample depends on the model, its request and its seed, but for the rounding of sums, into
    which its company in the batch enters. Each sample is a call of its own with its own seed: vLLM
    computes what prompts share once, and is as fast as with `n` samples in a call.
    """

    def __init__(self, config: EngineConfig, resources: ResourcesConfig) -> None:
        vllm_start.require()
        self.config, self.resources = config, resources
        self._llm: Any = None
        self._shape = ""  # of the models that the running engine can hold
        self._weights = ""  # whose they are
        self._asleep = False
        self._model: ModelFiles | None = None
        self._chats: dict[tuple[Path, Path | None], tuple[Chat, Tokens]] = {}
        self._adapters: list[str] = []

    def load(self, model: ModelFiles) -> None:
        """Make `model` answer: as an adapter, by new weights, or by a start of the engine."""
        self._chat(model)
        self._ready(model)
        self._model = model

    def answer(
        self, requests: Sequence[Request], models: Sequence[ModelFiles] | None = None
    ) -> list[Answer]:
        """All samples of all requests, in their order.

        models: who answers each request, in place of the loaded model. Adapters of one base share
        the batch where they are served as adapters.
        """
        models = models or [self._loaded] * len(requests)
        prompts = self._prompts(requests, models)
        asks = [
            _Ask(number, sample, request, prompt, model)
            for number, (request, prompt, model) in enumerate(
                zip(requests, prompts, models, strict=True)
            )
            for sample in range(1 if request.options else len(request.seeds))
        ]
        made = self._made([ask for ask in asks if self._fits(ask)])
        return [
            made.get((number, sample)) or _too_long(request, sample, prompt)
            for number, (request, prompt) in enumerate(zip(requests, prompts, strict=True))
            for sample in range(len(request.seeds))
        ]

    def lengths(self, requests: Sequence[Request]) -> list[int]:
        """Prompt length of each request in tokens, template and opening included."""
        return [len(prompt) for prompt in self._prompts(requests, [self._loaded] * len(requests))]

    def context(self) -> int:
        """The most tokens (prompt and answer) that the engine takes."""
        return int(self._running.llm_engine.model_config.max_model_len)

    def pause(self) -> None:
        """Stay, sleep or end while a model trains: engine.vllm.between."""
        between = self.config.vllm.between
        between = vllm_start.choice(between, self.config, cpu="stay", gpu="sleep")
        if between == "end":
            self.close()
        elif between == "sleep" and self._llm is not None:
            self._llm.sleep(level=1)
            self._asleep = True

    def close(self) -> None:
        """End the engine and give its memory back."""
        if self._llm is not None:
            self._llm.llm_engine.engine_core.shutdown()
            self._llm = None
            self._shape = self._weights = ""
            self._asleep = False
            vllm_start.give_back()

    @property
    def _loaded(self) -> ModelFiles:
        if self._model is None:
            raise EngineError("no model is loaded: call load() first")
        return self._model

    @property
    def _running(self) -> Any:
        if self._llm is None:
            self._ready(self._loaded)
        return self._llm

    def _ready(self, model: ModelFiles) -> None:
        """An engine with the right weights, awake."""
        shape = _shape(model.base, model.trust_remote_code)
        if self._llm is None or shape != self._shape:
            self.close()
            self._llm = vllm_start.start(
                self.config, self.resources, model.base, model.trust_remote_code
            )
            self._shape, self._weights = shape, str(model.base)
        if self._asleep:
            self._llm.wake_up()
            self._asleep = False
        self._push(model)

    def _push(self, model: ModelFiles) -> None:
        served = vllm_start.serves_adapters(self.config)
        adapter = model.adapter if not served else None
        weights = model.name if adapter else str(model.base)
        if served and model.adapter:
            self._check_rank(model.adapter)
        if weights != self._weights:
            dtype = vllm_start.DTYPES[self.config.dtype]
            arguments = (str(model.base), str(adapter) if adapter else None, dtype)
            with self._ended_by_failure():
                self._llm.collective_rpc("take_weights", args=arguments)
                if not self._llm.reset_prefix_cache():
                    raise EngineError("vLLM would not forget prefixes of the weights before")
            self._weights = weights

    @contextmanager
    def _ended_by_failure(self) -> Iterator[None]:
        """A call that fails or is interrupted leaves half-loaded weights, or requests that the
        next call would wait for: such an engine must not go on."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _check_rank(self, adapter: Path) -> None:
        from tsr.engines.merge import adapter_rank

        rank, most = adapter_rank(adapter), self.config.vllm.max_lora_rank
        if rank > most:
            raise EngineError(
                f"{adapter} has rank {rank}, more than engine.vllm.max_lora_rank={most}: raise it, "
                "or set engine.vllm.serve=weights"
            )

    def _chat(self, model: ModelFiles) -> tuple[Chat, Tokens]:
        """The model's tokenizer, and what ends its turn."""
        place = (model.base, model.tokenizer)
        if place not in self._chats:
            from transformers import GenerationConfig

            check_files(model)
            chat = Chat(model)
            settings = model.base / "generation_config.json"
            known = GenerationConfig.from_pretrained(model.base) if settings.is_file() else None
            self._chats[place] = chat, chat.stops(known or GenerationConfig())
        return self._chats[place]

    def _prompts(self, requests: Sequence[Request], models: Sequence[ModelFiles]) -> list[Tokens]:
        prompts: dict[int, Tokens] = {}
        for model in dict.fromkeys(models):
            numbers = [i for i, other in enumerate(models) if other == model]
            made = self._chat(model)[0].prompts([requests[i] for i in numbers])
            prompts |= dict(zip(numbers, made, strict=True))
        return [prompts[i] for i in range(len(requests))]

    def _fits(self, ask: _Ask) -> bool:
        new = 1 if ask.request.options else ask.request.max_new_tokens
        return len(ask.prompt) + new <= self.context()

    def _made(self, asks: Sequence[_Ask]) -> dict[tuple[int, int], Answer]:
        """One call of vLLM for each state of the weights, one sequence for each ask."""
        made: dict[tuple[int, int], Answer] = {}
        for group in self._groups(asks):
            for model in dict.fromkeys(ask.model for ask in group):
                self._ready(model)
            for ask, output in zip(group, self._generate(group), strict=True):
                made |= self._answers(ask, output)
        return made

    def _groups(self, asks: Sequence[_Ask]) -> list[list[_Ask]]:
        """Asks that can share a batch."""
        apart = not vllm_start.serves_adapters(self.config)
        groups: dict[Any, list[_Ask]] = {}
        for ask in asks:
            groups.setdefault(ask.model.name if apart else ask.model.base, []).append(ask)
        return list(groups.values())

    def _generate(self, asks: Sequence[_Ask]) -> list[Any]:
        from vllm import TokensPrompt

        prompts = [TokensPrompt(prompt_token_ids=list(ask.prompt)) for ask in asks]
        sampling = [self._sampling(ask) for ask in asks]
        adapters = [self._adapter(ask.model) for ask in asks]
        with self._ended_by_failure():
            made = self._llm.generate(prompts, sampling, lora_request=adapters, use_tqdm=False)
        return list(made)

    def _sampling(self, ask: _Ask) -> Any:
        from vllm import SamplingParams

        request, (chat, stops) = ask.request, self._chat(ask.model)
        if request.options:
            # Greedy: what is made is of no interest, and needs no seed.
            options = list(dict.fromkeys(chat.options(request)))
            return SamplingParams(
                temperature=0, max_tokens=1, detokenize=False, logprob_token_ids=options
            )
        return SamplingParams(
            seed=request.seeds[ask.sample],
            temperature=request.temperature,
            top_p=request.top_p,
            max_tokens=request.max_new_tokens,
            stop_token_ids=list(stops),
            detokenize=False,
            logprobs=0 if request.logprobs else None,
        )

    def _adapter(self, model: ModelFiles) -> Any:
        """vLLM knows adapters by a number, and caches prefixes by name: the content's hash."""
        if model.adapter is None or not vllm_start.serves_adapters(self.config):
            return None
        from vllm.lora.request import LoRARequest

        if model.name not in self._adapters:
            self._adapters.append(model.name)
        number = self._adapters.index(model.name) + 1
        return LoRARequest(model.name, number, str(model.adapter))

    def _answers(self, ask: _Ask, output: Any) -> dict[tuple[int, int], Answer]:
        request, chat = ask.request, self._chat(ask.model)[0]
        (made,), cached = output.outputs, output.num_cached_tokens or 0
        length = len(ask.prompt)
        if request.options:
            told = {token: lp.logprob for token, lp in made.logprobs[0].items()}
            found = zip(request.options, chat.options(request), strict=True)
            options = {option: told[token] for option, token in found}
            return {
                (ask.number, sample): Answer(
                    request.id, sample, "", "options", 0, length, None, options, None, cached
                )
                for sample in range(len(request.seeds))
            }
        tokens = list(made.token_ids)
        logprobs = (
            tuple(told[token].logprob for told, token in zip(made.logprobs, tokens, strict=True))
            if request.logprobs
            else None
        )
        answer = Answer(
            request.id,
            ask.sample,
            chat.text(tokens),
            made.finish_reason,
            len(tokens),
            length,
            logprobs,
            cached_tokens=cached,
        )
        return {(ask.number, ask.sample): answer}


def _too_long(request: Request, sample: int, prompt: Tokens) -> Answer:
    return Answer(request.id, sample, "", "too_long", 0, len(prompt))


def _shape(base: Path, trusted: bool) -> str:
    """What must be equal for one engine to hold either of two checkpoints."""
    from transformers import AutoConfig

    # Read and filled up by transformers: versions of it write the same network differently.
    config = AutoConfig.from_pretrained(base, trust_remote_code=trusted, local_files_only=True)
    told = {k: v for k, v in config.to_dict().items() if k not in _INCIDENTAL}
    return json.dumps(told, sort_keys=True, default=str)
