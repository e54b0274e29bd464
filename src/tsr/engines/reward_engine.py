"""The engine of reward models: transformers' classifiers with one output, a number a conversation.

A conversation is read as it is, user and assistant turns, and answered with `Answer.value`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tsr.engines.base import Answer, EngineError, ModelFiles, Request, check_files
from tsr.engines.chat import Chat, Tokens
from tsr.engines.network import NetworkEngine, device_of

# Tokens of one forward, padding included: more of them need more memory and save no time.
FORWARD = 16_384


@dataclass(frozen=True)
class _Loaded:
    """A reward model in memory; `padding` is the token that its config names, if it does."""

    name: str
    network: Any
    chat: Chat
    context: int
    padding: int | None


class RewardEngine(NetworkEngine[_Loaded]):
    """Gives values; see tsr.engines.base.Engine. Requests with options or openings are not meant.

    dtype: `bf16` or `fp32`; the last layer, from features to the value, is computed in fp32.
    batch_size: conversations read together. device: `auto` takes a GPU where there is one.
    context: a limit below the model's own.
    """

    def __init__(
        self, dtype: str, batch_size: int = 64, device: str = "auto", context: int | None = None
    ) -> None:
        self.dtype, self.batch_size, self.device, self.most = dtype, batch_size, device, context

    def load(self, model: ModelFiles) -> None:
        """Read the model from disk, unless this very model is loaded."""
        if self._loaded is not None and self._loaded.name == model.name:
            return
        _check(model)
        chat = Chat(model)
        self.close()
        network = _network(model, self.dtype, self.device)
        config = network.config.get_text_config()
        context, padding = config.max_position_embeddings, config.pad_token_id
        context = min(context, self.most or context)
        self._loaded = _Loaded(model.name, network, chat, context, padding)

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """A value for each request, once per seed: samples are all the same."""
        texts = self._model.chat.conversations(requests)
        values = self._values([text for text in texts if len(text) <= self._model.context])
        return [
            _answer(request, sample, len(text), values.get(text))
            for request, text in zip(requests, texts, strict=True)
            for sample in range(len(request.seeds))
        ]

    def lengths(self, requests: Sequence[Request]) -> list[int]:
        """Length of each conversation in tokens, template included."""
        return [len(text) for text in self._model.chat.conversations(requests)]

    def _values(self, texts: Sequence[Tokens]) -> dict[Tokens, float]:
        """The value of each text, read in batches of like length; equal texts are read once."""
        ordered = sorted(set(texts), key=lambda text: (len(text), text))
        found: dict[Tokens, float] = {}
        for batch in _batches(ordered, self.batch_size):
            found |= zip(batch, _read(self._model, batch), strict=True)
        return found


def _answer(request: Request, sample: int, length: int, value: float | None) -> Answer:
    finish = "too_long" if value is None else "value"
    return Answer(request.id, sample, "", finish, 0, length, value=value)


def _batches(texts: Sequence[Tokens], rows: int) -> Iterator[Sequence[Tokens]]:
    """Runs of at most `rows` texts, shortest first, whose padded tokens fit one forward."""
    start = 0
    for end, text in enumerate(texts):
        full = end - start == rows or (end + 1 - start) * len(text) > FORWARD
        if full and end > start:
            yield texts[start:end]
            start = end
    if texts:
        yield texts[start:]


def _read(loaded: _Loaded, texts: Sequence[Tokens]) -> list[float]:
    """One forward; texts are padded on the right, where no causal model looks."""
    import torch

    network, longest = loaded.network, max(map(len, texts))
    pad = _padding(loaded, texts)
    ids = torch.tensor([text + (pad,) * (longest - len(text)) for text in texts])
    mask = torch.arange(longest) < torch.tensor([[len(text)] for text in texts])
    with torch.inference_mode():
        out = network(
            input_ids=ids.to(network.device),
            attention_mask=mask.to(network.device, torch.long),
            use_cache=False,
        )
    values: list[float] = out.logits[:, 0].double().tolist()
    return values


def _padding(loaded: _Loaded, texts: Sequence[Tokens]) -> int:
    """The model's own padding token or, where it has none, a token that is in none of the texts.

    A value is taken at the last token that is not the padding token: with the end of a turn for
    padding, it would be taken before that end.
    """
    if loaded.padding is not None:
        return loaded.padding
    config = loaded.network.config.get_text_config()
    seen = {token for text in texts for token in text}
    unseen = next(token for token in range(config.vocab_size) if token not in seen)
    config.pad_token_id = unseen
    return unseen


def _network(model: ModelFiles, dtype: str, device: str) -> Any:
    """The classifier in eval mode."""
    import torch
    from transformers import AutoModelForSequenceClassification

    network, found = AutoModelForSequenceClassification.from_pretrained(
        model.base,
        dtype=torch.bfloat16 if dtype == "bf16" else torch.float32,
        trust_remote_code=model.trust_remote_code,
        local_files_only=True,
        output_loading_info=True,
    )
    if found["missing_keys"]:
        names = ", ".join(sorted(found["missing_keys"]))
        raise EngineError(f"{model.base} is no reward model: its weights lack {names}")
    _sharpen(network)
    return network.to(device_of(device)).eval()


def _sharpen(network: Any) -> None:
    # Rewards are told to 8 bits otherwise, and answers of like quality would tie.
    head = getattr(network, "score", None)
    if head is not None:
        head.float()
        head.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))


def _check(model: ModelFiles) -> None:
    """Refuse what can be told before the weights are read."""
    from transformers import AutoConfig

    check_files(replace(model, adapter=None))
    if model.adapter is not None:
        raise EngineError(f"{model.adapter}: merge the adapter into its reward model first")
    config = AutoConfig.from_pretrained(
        model.base, trust_remote_code=model.trust_remote_code, local_files_only=True
    )
    if config.num_labels != 1:
        raise EngineError(
            f"{model.base} has {config.num_labels} outputs: a reward model has one "
            "(num_labels=1 in its config.json)"
        )
