"""The face that every engine shows: requests in, answers out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypedDict


class Message(TypedDict):
    """One turn of a conversation; role is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True)
class ModelFiles:
    """Where an engine finds a model.

    name: the model's content hash (its stage key): what warm engines and adapters go by.
    base: a checkpoint folder that transformers loads (weights, tokenizer, chat template).
    adapter: a PEFT adapter folder on top of `base`, or None.
    tokenizer: a folder whose tokenizer and chat template are used instead of `base`'s, or None.
    trust_remote_code: whether code that comes with the model may run.
    served: the id under which a server has the model, for a model that is not here at all; `base`
        is then never read.
    family: what all models share that can take each other's place in a running engine.
    """

    name: str
    base: Path
    adapter: Path | None = None
    tokenizer: Path | None = None
    trust_remote_code: bool = False
    served: str | None = None
    family: str = ""


@dataclass(frozen=True)
class Request:
    """One conversation to be answered `len(seeds)` times.

    opening: text the answer already begins with (not repeated in the answers).
    seeds: one per wanted sample; a sample depends on its own seed only, not on how many are asked.
    options: when given, no text is made: each answer holds the log-probability of every option as
        the next token, and `text` is empty. Every option must be one token in that place.
    """

    id: str
    messages: tuple[Message, ...]
    seeds: tuple[int, ...] = (0,)
    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 1024
    opening: str = ""
    options: tuple[str, ...] = ()
    logprobs: bool = False


@dataclass(frozen=True)
class Answer:
    """One sample.

    finish: `stop` (the model ended its turn), `length` (cut at max_new_tokens), `options` (see
        Request), `value` (a reward model's) or `too_long` (the prompt and max_new_tokens exceed the
        context; nothing was made).
    tokens: how many tokens were made, the end-of-turn token included.
    logprobs: natural-log probability of each made token under temperature 1, when asked for.
    options: option -> natural-log probability, for a Request with options. A server tells only the
        most probable tokens: there an option may be absent.
    value: a reward model's number for the conversation.
    cached_tokens: how many of the prompt tokens were not computed, being a prefix known already.
    """

    request: str
    sample: int
    text: str
    finish: str
    tokens: int
    prompt_tokens: int
    logprobs: tuple[float, ...] | None = None
    options: dict[str, float] | None = None
    value: float | None = None
    cached_tokens: int = 0


class EngineError(RuntimeError):
    """The engine cannot do what was asked; the message says what to change."""


def check_files(model: ModelFiles) -> None:
    """Raise EngineError where a checkpoint or an adapter is not where it should be.

    transformers would take a missing folder for the name of a hub model.
    """
    if not (model.base / "config.json").is_file():
        raise EngineError(f"{model.base} is not a checkpoint folder (no config.json in it)")
    if model.adapter and not (model.adapter / "adapter_config.json").is_file():
        raise EngineError(
            f"{model.adapter} is not an adapter folder (no adapter_config.json in it)"
        )


class Engine(Protocol):
    """Answers requests with one model at a time and keeps it warm between calls."""

    def load(self, model: ModelFiles) -> None:
        """Make `model` the one that answers. Loading the model already loaded costs nothing."""

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """All samples of all requests: ordered as the requests are, and by sample within each."""

    def lengths(self, requests: Sequence[Request]) -> list[int]:
        """Prompt length of each request in tokens, template included: for sorting and limits."""

    def context(self) -> int:
        """The most tokens (prompt and answer) that the loaded model takes."""

    def pause(self) -> None:
        """Make room for a training, in the engine's own way; the next `load` goes on."""

    def close(self) -> None:
        """Give back all memory. The engine can be loaded again afterwards."""
