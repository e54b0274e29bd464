"""The engine for servers that speak OpenAI's chat completions: vllm serve, SGLang, public APIs."""

import asyncio
import json
import re
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tsr.engines.base import Answer, EngineError, ModelFiles, Request
from tsr.engines.openai_form import Json, body_of, read_answer, read_ids
from tsr.engines.openai_server import Declined, Server

if TYPE_CHECKING:
    from openai import AsyncOpenAI

T = TypeVar("T")
TOO_LONG = re.compile(r"context[ _-]?(length|size|window)|maximum context|max_model_len", re.I)
UNLISTED = (401, 403, 404, 405, 501)  # how servers without a list of models answer
LISTED = 20  # ids named in an error
INSTEAD = "or use engine=vllm"


@dataclass(frozen=True)
class _Call:
    """One call; `key` is what its answer depends on, so equal keys are asked for once."""

    request: Request
    sample: int
    body: Json
    key: tuple[str, int]


# A model's content key, by which adapters are loaded.
KEY = re.compile(r"[0-9a-f]{64}")


class OpenAIEngine:
    """Answers through a server; see tsr.engines.base.Engine.

    A sample is one call with its own seed. Whether a seed gives the same text again is up to the
    server, and rests with vLLM on what else is in its batch (near ties). What was answered before a
    failure is kept: after it, `answer` with the same requests asks for the rest only.

    url: the server's address. served: the id of the base model there; None: the only one listed.
    key_env: the environment variable that holds the key, if one is needed.
    concurrency: calls under way at once. timeout_s, retries: for each call.
    context: what `context()` tells. prefill: whether the server can go on from an opening, as vLLM
    and SGLang do; without it no opening is sent. seeds: whether seeds are sent.
    """

    def __init__(
        self,
        url: str,
        *,
        served: str | None = None,
        key_env: str = "OPENAI_API_KEY",
        concurrency: int = 32,
        timeout_s: float = 600,
        retries: int = 6,
        context: int | None = None,
        prefill: bool = True,
        seeds: bool = True,
    ) -> None:
        self.served, self.concurrency = served, concurrency
        self.prefill, self.seeds = prefill, seeds
        self._server = Server.at(url, key_env, timeout_s, retries)
        self._context = context or 1_000_000
        self._base: Path | None = None
        self._loaded: ModelFiles | None = None
        self._asked = self._only_base = ""
        self._memo: dict[tuple[str, int], Answer] = {}

    def load(self, model: ModelFiles) -> None:
        """Find the model's id on the server; have the server load an adapter it does not know."""
        if model == self._loaded:
            return
        self._asked, self._loaded = "", None  # should this fail, the one before must not answer
        if model.served is None:
            self._check_base(model)
        self._asked, self._loaded = _run(self._find(model)), model
        if model.served is None:
            self._base = model.base

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """All samples of all requests, in their order."""
        if not self._asked:
            raise EngineError("no model is loaded: call load() first")
        calls = [self._call(r, j) for r in requests for j in range(len(r.seeds))]
        missing = {call.key: call for call in calls if call.key not in self._memo}
        if missing:
            _run(self._finish(list(missing.values())))
        answers = [
            replace(self._memo[call.key], request=call.request.id, sample=call.sample)
            for call in calls
        ]
        self._memo.clear()
        return answers

    def lengths(self, requests: Sequence[Request]) -> list[int]:
        """A guess, a quarter of the characters: the tokenizer is on the server."""
        return [
            (sum(len(m["content"]) for m in r.messages) + len(r.opening)) // 4 for r in requests
        ]

    def context(self) -> int:
        """What was configured, else more than anyone asks for: the server refuses what is more."""
        return self._context

    def pause(self) -> None:
        """Nothing is held: each call of `load` and `answer` has a client of its own."""

    def close(self) -> None:
        """Forget the model, and the answers kept from a failure."""
        self._asked, self._loaded = "", None  # the base stays: the server has it still
        self._memo.clear()

    def _check_base(self, model: ModelFiles) -> None:
        if self._base not in (None, model.base):
            raise EngineError(
                f"the server at {self._server.url} has {self._base}, not {model.base}: a server "
                f"keeps its base model. Train adapters (train.method=lora) {INSTEAD}"
            )

    def _call(self, request: Request, sample: int) -> _Call:
        """Options are the same for every sample; their fixed seed is for the token drawn beside."""
        seed = 0 if request.options else request.seeds[sample]
        body = body_of(request, self._asked, seed if self.seeds else None, self.prefill)
        return _Call(request, sample, body, (json.dumps([body, request.options]), seed))

    async def _finish(self, calls: Sequence[_Call]) -> None:
        """Bring the answers of all calls into the memo; one failure ends the others."""
        limit = asyncio.Semaphore(self.concurrency)
        async with self._server.client() as client:
            try:
                async with asyncio.TaskGroup() as group:
                    for call in calls:
                        group.create_task(self._ask(client, limit, call))
                return
            except ExceptionGroup as failed:
                failure = failed.exceptions[0]
        raise failure

    async def _ask(self, client: "AsyncOpenAI", limit: asyncio.Semaphore, call: _Call) -> None:
        read = partial(read_answer, request=call.request)
        async with limit:
            try:
                answer = await self._server.post(client, "/chat/completions", call.body, read)
            except Declined as no:
                if no.status == 404:  # a server started anew knows no adapters: load it again
                    self._loaded = None
                if no.status not in (400, 413, 422) or not TOO_LONG.search(no.said):
                    raise
                (length,) = self.lengths([call.request])
                answer = Answer(call.request.id, 0, "", "too_long", 0, length)
        self._memo[call.key] = answer

    def _only(self, listed: Sequence[str]) -> str:
        """The base, where nobody said which it is: adapters, named by their keys, are no bases."""
        bases = [name for name in listed if not KEY.fullmatch(name)]
        if len(bases) > 1:
            raise EngineError(
                f"{self._server.url} has several models ({', '.join(bases[:LISTED])}): say which "
                "with engine.server.served=..."
            )
        return bases[0]

    async def _find(self, model: ModelFiles) -> str:
        """The id to ask for."""
        async with self._server.client() as client:
            listed = await self._list(client)
            wanted = model.served or self.served or self._only_base
            if not wanted:
                if not listed:
                    raise EngineError(
                        f"{self._server.url} lists no models: say engine.server.served=..."
                    )
                wanted = self._only_base = self._only(listed)
            if listed is not None and wanted not in listed:
                raise EngineError(
                    f"{self._server.url} has no model {wanted!r}; it has "
                    f"{', '.join(listed[:LISTED]) or 'none'}{', ...' if listed[LISTED:] else ''}"
                )
            if model.served or not model.adapter:
                return wanted
            if model.name not in (listed or ()):
                await self._load_adapter(client, model.name, model.adapter)
            return model.name

    async def _list(self, client: "AsyncOpenAI") -> list[str] | None:
        """The ids that the server lists, or None where it has no list for us."""
        try:
            return await self._server.get(client, "/models", read_ids)
        except Declined as no:
            if no.status in UNLISTED:
                return None
            raise

    async def _load_adapter(self, client: "AsyncOpenAI", name: str, folder: Path) -> None:
        body = {"lora_name": name, "lora_path": str(folder.absolute())}
        try:
            await self._server.text(client, "POST", "/load_lora_adapter", body)
            return
        except Declined as no:
            if "already" in no.said:
                return
            hint = "the server must see that folder; rank at most vllm serve --max-lora-rank"
            if no.status in (404, 405):
                hint = (
                    "start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve --enable-lora "
                    f"..., {INSTEAD}"
                )
            failure = EngineError(f"the server does not load adapter {folder}: {hint}. {no}")
        raise failure


def _run(work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, in a thread of its own where a loop runs already (a notebook)."""
    if not _in_loop():
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
