"""A request in the chat-completions form, and what a reply in that form says."""

import math
from collections.abc import Mapping
from typing import Any

from tsr.engines.base import Answer, EngineError, Request

TOP_LOGPROBS = 20  # the most that OpenAI and, by default, vLLM give
SEEDS = 2**31
# Any other end means that the text is no answer. The last two are cuts by the server, so that the
# text is as unfinished as one cut at its length.
FINISHES = {"stop": "stop", "length": "length", "content_filter": "length", "repetition": "length"}
CONTINUE = {"add_generation_prompt": False, "continue_final_message": True}  # vLLM's and SGLang's
Json = dict[str, Any]


def body_of(request: Request, model: str, seed: int | None, prefill: bool) -> Json:
    """What is sent for one sample, or for all of them where options are asked for.

    A seed is sent modulo 2**31, which every server takes; vLLM and OpenAI would take 64 bits.
    """
    body: Json = {"model": model, "messages": list(request.messages)}
    if request.options:
        body |= {"temperature": 1.0, "max_tokens": 1, "logprobs": True}
        body["top_logprobs"] = TOP_LOGPROBS
    else:
        body |= {"temperature": request.temperature, "top_p": request.top_p}
        body["max_tokens"] = request.max_new_tokens
        if request.logprobs:
            body["logprobs"] = True
    if seed is not None:
        body["seed"] = seed % SEEDS
    if request.opening and prefill:
        body["messages"].append({"role": "assistant", "content": request.opening})
        body |= CONTINUE
    return body


def read_answer(reply: Json, request: Request) -> Answer:
    """The answer (sample 0) in a reply; LookupError, TypeError or ValueError if it holds none."""
    choice, usage = reply["choices"][0], reply["usage"]
    prompt, made = int(usage["prompt_tokens"]), int(usage["completion_tokens"])
    cached = int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0)
    if request.options:
        shares = _options(choice, request.options)
        return Answer(request.id, 0, "", "options", 0, prompt, None, shares, None, cached)
    finish, text = FINISHES[choice["finish_reason"]], _text(choice["message"], made)
    logprobs = _logprobs(choice) if request.logprobs else None
    return Answer(request.id, 0, text, finish, made, prompt, logprobs, cached_tokens=cached)


def read_ids(reply: Json) -> list[str]:
    """The model ids in an answer from /models."""
    return [str(model["id"]) for model in reply["data"]]


def _text(message: Mapping[str, Any], tokens: int) -> str:
    """The content. None is empty text when at most the end of the turn was made."""
    text = message["content"]
    if text is None and tokens > 1:
        held = [k for k, v in message.items() if v and k not in ("role", "content")]
        raise EngineError(
            f"the server made {tokens} tokens and put none into the answer's content (it filled "
            f"{', '.join(held) or 'nothing'}): start it without a reasoning or tool-call parser"
        )
    if not isinstance(text, str | None):
        raise TypeError("content is not text")
    return text or ""


def _tokens(choice: Mapping[str, Any]) -> list[Json]:
    held = choice.get("logprobs")
    if held is None or held["content"] is None:
        raise EngineError(
            "the server was asked for log-probabilities and gave none: it cannot be used for this "
            "(judge.scoring=text needs none)"
        )
    return list(held["content"])


def _logprobs(choice: Mapping[str, Any]) -> tuple[float, ...]:
    return tuple(float(token["logprob"]) for token in _tokens(choice))


def _options(choice: Mapping[str, Any], options: tuple[str, ...]) -> dict[str, float]:
    """Option -> log-probability of the tokens that spell it, with or without spaces around."""
    shares = dict.fromkeys(options, 0.0)
    for top in _tokens(choice)[0]["top_logprobs"]:
        token = top["token"]
        option = token if token in shares else token.strip()
        if option in shares:
            shares[option] += math.exp(float(top["logprob"]))
    return {option: math.log(share) for option, share in shares.items() if share > 0}
