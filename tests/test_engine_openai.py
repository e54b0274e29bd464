"""The engine that asks a server: a fake one, which answers, stalls, lies and dies as it is told."""

import asyncio
import json
import logging
import math
import socket
import struct
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tsr.engines.base import Answer, Engine, EngineError, Message, ModelFiles, Request
from tsr.engines.openai_engine import OpenAIEngine

Body = dict[str, Any]
SECRET = "sk-very-secret-0123456789"
BASE = ModelFiles("b0", Path("/models/base"))
TUNED = ModelFiles("a1b2c3", BASE.base, Path("/runs/adapter"))
ASKED = Request("a", (Message(role="user", content="Say a word."),), (1, 2, 3))
OPTIONS = replace(ASKED, opening="Score: ", options=("0", "1", "2"))
CONTEXT = "This model's maximum context length is 64 tokens. However, you requested 99 tokens."


@dataclass
class Reply:
    """What the fake sends; `cut`: it hangs up in the middle; `stall`: it never answers."""

    status: int = 200
    body: Body | str = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    stall: bool = False


Rule = Callable[[Body], Reply | None]


def error(status: int, message: str = "no", **headers: str) -> Reply:
    return Reply(status, {"error": {"message": message, "type": "t", "code": status}}, headers)


class Listener(ThreadingHTTPServer):
    request_queue_size = 128


class Fake:
    """A server with a script: replies for the next chat calls, then what `rule` or it says."""

    def __init__(self) -> None:
        self.script: deque[Reply] = deque()
        self.rule: Rule = lambda body: None
        self.models: list[str] | None = ["base", "7" * 64]
        self.lora: Rule | None = None
        self.top: list[tuple[str, float]] = []
        self.seen: list[tuple[str, Body, str]] = []
        self.port = self.active = self.most = 0
        self.lock, self.over = threading.Lock(), threading.Event()
        self.sockets: set[socket.socket] = set()
        self.start()

    def start(self) -> None:
        handler = type("Told", (Handler,), {"fake": self})
        self.server = Listener(("127.0.0.1", self.port), handler)
        self.port = self.server.server_port
        self.over.clear()
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def stop(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
        with self.lock:
            for open_socket in self.sockets:
                with suppress(OSError):
                    open_socket.shutdown(socket.SHUT_RDWR)

    def asked(self, path: str = "/v1/chat/completions") -> list[Body]:
        return [body for seen, body, _ in self.seen if seen == path]

    def seeds(self) -> list[int]:
        return [body["seed"] for body in self.asked()]

    def reply(self, path: str, body: Body) -> Reply:
        if path == "/v1/models":
            listed = [{"id": name, "object": "model"} for name in self.models or ()]
            return error(404) if self.models is None else Reply(body={"data": listed})
        if path == "/v1/load_lora_adapter":
            return (self.lora and self.lora(body)) or Reply(404, {"detail": "Not Found"})
        with self.lock:
            told = self.script.popleft() if self.script else None
        return told or self.rule(body) or self.chat(body)

    def chat(self, body: Body) -> Reply:
        text = f"{body.get('seed')} {body['messages'][0]['content']}"
        made = 1 if "top_logprobs" in body else 3
        choice: Body = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        if body.get("logprobs"):
            top = [{"token": token, "logprob": share} for token, share in self.top]
            row = {"token": "x", "logprob": -0.5, "top_logprobs": top}
            choice["logprobs"] = {"content": [row] * made}
        usage: Body = {"prompt_tokens": 7, "completion_tokens": made}
        usage["prompt_tokens_details"] = {"cached_tokens": 4}
        return Reply(body={"choices": [choice], "usage": usage})


class Handler(BaseHTTPRequestHandler):
    fake: Fake
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        with self.fake.lock:
            self.fake.sockets.add(self.connection)

    def finish(self) -> None:
        with self.fake.lock:
            self.fake.sockets.discard(self.connection)
        super().finish()

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # the client or `stop` hung up
            self.close_connection = True

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size)) if size else {}
        with self.fake.lock:
            self.fake.seen.append((self.path, body, self.headers.get("Authorization", "")))
            self.fake.active += 1
            self.fake.most = max(self.fake.most, self.fake.active)
        try:
            reply = self.fake.reply(self.path, body)
        finally:
            with self.fake.lock:
                self.fake.active -= 1
        self.send(reply)

    do_GET = do_POST  # noqa: N815 (the name is http.server's)

    def send(self, reply: Reply) -> None:
        if reply.stall:
            self.fake.over.wait(10)
            self.close_connection = True
            return
        is_text = isinstance(reply.body, str)
        data = str(reply.body).encode() if is_text else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        headers = {"Content-Type": "text/html" if is_text else "application/json"}
        for name, value in (headers | {"X-Request-Id": "req-7"} | reply.headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data) + 500 * reply.cut))
        self.end_headers()
        self.wfile.write(data)
        if reply.cut:
            self.wfile.flush()
            # With this the connection is reset rather than closed.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Not to stderr."""


@pytest.fixture
def fake() -> Iterator[Fake]:
    made = Fake()
    yield made
    if not made.over.is_set():
        made.stop()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between tries, and no key or proxy of the machine's own."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 0.002)
    monkeypatch.setattr("tsr.engines.openai_server.GARBAGE_WAIT_S", 0.0)
    for name in ("OPENAI_API_KEY", "http_proxy", "HTTP_PROXY", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


def at(fake: Fake, **options: Any) -> OpenAIEngine:
    return OpenAIEngine(f"http://127.0.0.1:{fake.port}", **{"retries": 2, **options})


def loaded(fake: Fake, model: ModelFiles = BASE, **options: Any) -> OpenAIEngine:
    engine = at(fake, **options)
    engine.load(model)
    return engine


def until(true: Callable[[], bool]) -> None:
    limit = time.monotonic() + 5
    while not true() and time.monotonic() < limit:
        time.sleep(0.01)


def patience(reply: Reply) -> float:
    return 0.5 if reply.stall else 30


def many(count: int) -> Request:
    return replace(ASKED, seeds=tuple(range(count)))


def ended(reason: str | None, content: str | None, tokens: int, **more: Any) -> Reply:
    choice = {"message": {"content": content, **more}, "finish_reason": reason}
    usage = {"prompt_tokens": 1, "completion_tokens": tokens}
    return Reply(body={"choices": [choice], "usage": usage})


# What is asked and what is made of the answer


def test_order_counts_and_form(fake: Fake) -> None:
    engine: Engine = loaded(fake)
    other = replace(ASKED, id="b", seeds=(2**62 + 9,), temperature=0.5, top_p=0.9, logprobs=True)
    answers = engine.answer([ASKED, other])
    assert [(a.request, a.sample) for a in answers] == [("a", 0), ("a", 1), ("a", 2), ("b", 0)]
    assert [a.text[0] for a in answers] == ["1", "2", "3", "9"]
    assert answers[0] == Answer("a", 0, "1 Say a word.", "stop", 3, 7, cached_tokens=4)
    assert answers[3].logprobs == (-0.5, -0.5, -0.5)
    (body,) = (b for b in fake.asked() if b["seed"] == 9)
    assert body == {
        "model": "base",
        "messages": [{"role": "user", "content": "Say a word."}],
        **{"temperature": 0.5, "top_p": 0.9, "max_tokens": 1024, "logprobs": True, "seed": 9},
    }
    assert engine.lengths([ASKED, OPTIONS]) == [2, 4]
    assert engine.context() > 100_000
    assert at(fake, context=4096).context() == 4096
    engine.pause()
    assert len(engine.answer([ASKED])) == 3
    assert engine.answer([]) == []
    engine.close()
    with pytest.raises(EngineError, match="load"):
        engine.answer([ASKED])


def test_without_seeds_and_openings(fake: Fake) -> None:
    engine = loaded(fake, seeds=False, prefill=False)
    assert len(engine.answer([replace(ASKED, opening="So")])) == 3
    assert len(fake.asked()) == 3  # each sample is a call, though the calls are alike
    assert all(not {"seed", "continue_final_message"} & set(b) for b in fake.asked())
    assert {len(b["messages"]) for b in fake.asked()} == {1}


def test_an_opening_is_gone_on_from(fake: Fake) -> None:
    loaded(fake).answer([replace(ASKED, opening="So", seeds=(1,))])
    (body,) = fake.asked()
    assert body["messages"][1:] == [{"role": "assistant", "content": "So"}]
    assert (body["add_generation_prompt"], body["continue_final_message"]) == (False, True)


def test_options(fake: Fake) -> None:
    fake.top = [("1", math.log(0.5)), (" 1", math.log(0.25)), ("x", -3.0), ("2", -9999.0)]
    answers = loaded(fake).answer([OPTIONS])
    assert [(a.sample, a.finish, a.text, a.tokens) for a in answers] == [
        (j, "options", "", 0) for j in range(3)
    ]
    assert answers[0].options == answers[2].options == {"1": pytest.approx(math.log(0.75))}
    (body,) = fake.asked()
    assert (body["max_tokens"], body["logprobs"], body["top_logprobs"]) == (1, True, 20)
    assert body["temperature"] == 1
    assert body["messages"][-1]["content"] == "Score: "
    fake.top = [("2", -0.1), ("1", -2.0), ("0", -3.0)]
    assert loaded(fake).answer([OPTIONS])[0].options == pytest.approx({"0": -3, "1": -2, "2": -0.1})


def test_a_server_without_logprobs(fake: Fake) -> None:
    fake.rule = lambda body: ended("stop", "1", 1)
    with pytest.raises(EngineError, match=r"log-probabilities.*judge.scoring=text"):
        loaded(fake).answer([OPTIONS])


@pytest.mark.parametrize(
    ("reply", "finish", "text"),
    [
        (ended("length", "half an", 3), "length", "half an"),
        (ended("content_filter", "cut", 3), "length", "cut"),
        (ended("stop", None, 1), "stop", ""),
        (ended("stop", "", 0), "stop", ""),
        (error(400, CONTEXT), "too_long", ""),
    ],
)
def test_finishes(fake: Fake, reply: Reply, finish: str, text: str) -> None:
    fake.script.append(reply)
    (answer,) = loaded(fake).answer([many(1)])
    assert (answer.finish, answer.text, len(fake.asked())) == (finish, text, 1)


def test_text_that_a_parser_took_away(fake: Fake) -> None:
    fake.script.append(ended("stop", None, 30, reasoning_content="Let me think"))
    with pytest.raises(EngineError, match=r"30 tokens.*reasoning_content.*parser"):
        loaded(fake).answer([many(1)])


def test_as_many_calls_at_once_as_allowed(fake: Fake) -> None:
    together = threading.Barrier(4)

    def wait(_: Body) -> None:
        together.wait(timeout=5)  # breaks, and with it the answer, if fewer than 4 come
        time.sleep(0.02)

    fake.rule = wait
    assert len(loaded(fake, concurrency=4).answer([many(12)])) == 12
    assert fake.most == 4


# Which model


def test_the_model_of_a_server(fake: Fake) -> None:
    fake.models = ["base", "other"]
    with pytest.raises(EngineError, match=r"several models \(base, other\).*engine.server.served"):
        loaded(fake)
    fake.seen.clear()
    for engine, model, wanted in (
        (at(fake, served="base"), BASE, "base"),
        (at(fake, served="other"), BASE, "other"),
        (at(fake), replace(BASE, served="other"), "other"),
    ):
        engine.load(model)
        engine.load(model)
        engine.answer([many(1)])
        assert fake.asked()[-1]["model"] == wanted
    assert len(fake.asked("/v1/models")) == 3  # not again for the model that is loaded
    with pytest.raises(EngineError, match=r"no model 'third'; it has base, other"):
        loaded(fake, replace(BASE, served="third"))


def test_a_server_without_a_list(fake: Fake) -> None:
    fake.models = None
    assert loaded(fake, served="unlisted").answer([many(1)])
    with pytest.raises(EngineError, match=r"engine\.server\.served"):
        loaded(fake)


def test_an_adapter_is_loaded_once(fake: Fake) -> None:
    def load(body: Body) -> Reply:
        assert fake.models is not None
        fake.models.append(body["lora_name"])
        return Reply(body="Success")

    fake.lora = load
    engine = loaded(fake, TUNED)
    for model in (BASE, TUNED):
        engine.load(model)
        engine.answer([many(1)])
    assert [b["model"] for b in fake.asked()] == ["base", "a1b2c3"]
    wanted = [{"lora_name": "a1b2c3", "lora_path": "/runs/adapter"}]
    assert fake.asked("/v1/load_lora_adapter") == wanted
    fake.models = ["base"]  # the server is started anew
    fake.script.append(error(404, "The model `a1b2c3` does not exist."))
    with pytest.raises(EngineError, match="does not exist"):
        engine.answer([ASKED])
    engine.load(TUNED)
    assert fake.asked("/v1/load_lora_adapter") == wanted * 2


def test_an_adapter_that_is_there_already(fake: Fake) -> None:
    fake.lora = lambda body: error(400, "The lora adapter has already been loaded.")
    assert loaded(fake, TUNED).answer([many(1)])
    fake.lora = lambda body: error(400, "No adapter found for /runs/adapter")
    with pytest.raises(EngineError, match=r"must see that folder.*No adapter found"):
        loaded(fake, TUNED)


def test_a_server_that_loads_no_adapters(fake: Fake) -> None:
    with pytest.raises(EngineError, match=r"UPDATING=True.*--enable-lora.*engine=vllm"):
        loaded(fake, TUNED)


def test_another_base_model(fake: Fake) -> None:
    engine = loaded(fake)
    engine.close()
    for adapter in (None, Path("/runs/adapter")):
        with pytest.raises(EngineError, match=r"/models/base, not /runs/sft.*lora.*engine=vllm"):
            engine.load(ModelFiles("sft", Path("/runs/sft"), adapter))
        with pytest.raises(EngineError, match="no model is loaded"):
            engine.answer([ASKED])
    assert fake.models is not None
    fake.models.append("other")
    engine.load(replace(BASE, base=Path("/unread"), served="other"))
    engine.load(BASE)
    assert len(engine.answer([ASKED])) == 3


# Trouble that passes


@pytest.mark.parametrize(
    "trouble",
    [
        [error(429, retry_after="0.2")],
        [error(500), error(503)],
        [Reply(body="<html>busy</html>")],
        [Reply(cut=True)],
        [Reply(stall=True)],
        [ended("abort", "", 0)],
    ],
    ids=["429", "500", "html", "reset", "stall", "abort"],
)
def test_what_passes_is_asked_again(fake: Fake, trouble: list[Reply]) -> None:
    engine = loaded(fake, timeout_s=patience(trouble[0]))
    fake.script.extend(trouble)
    begun = time.monotonic()
    (answer,) = engine.answer([many(1)])
    assert answer.text == "0 Say a word."
    assert len(fake.asked()) == len(trouble) + 1
    if trouble[0].status == 429:
        assert time.monotonic() - begun > 0.2


def test_a_server_that_dies_and_comes_back(fake: Fake) -> None:
    def die(body: Body) -> Reply | None:
        if body["seed"] == 4 and not killer.ident:
            killer.start()
        return Reply(stall=True) if body["seed"] == 4 else None

    killer = threading.Thread(target=fake.stop)
    fake.rule = die
    engine = loaded(fake, concurrency=1)
    with pytest.raises(EngineError, match=r"cannot be reached.*same command goes on"):
        engine.answer([many(8)])
    killer.join()
    assert set(fake.seeds()) == {0, 1, 2, 3, 4}
    fake.start()
    fake.rule = lambda body: None
    fake.seen.clear()
    assert [a.text[0] for a in engine.answer([many(8)])] == list("01234567")
    assert fake.seeds() == [4, 5, 6, 7]
    fake.seen.clear()
    engine.answer([many(8)])
    assert sorted(fake.seeds()) == list(range(8))  # nothing is kept after a success


# Trouble that does not


@pytest.mark.parametrize(
    ("reply", "message", "calls"),
    [
        (error(500, "CUDA error"), r"HTTP 500 \(request req-7\): CUDA error.*same command", 3),
        (error(429, "slow", retry_after="900"), r"HTTP 429.*slow.*same command", 1),
        (error(422, "top_p must be in (0, 1]"), r"HTTP 422 \(request req-7\): top_p must be", 1),
        (Reply(400, {"detail": [{"loc": ["seed"]}]}), r'HTTP 400.*"loc": \["seed"\]', 1),
        (Reply(stall=True), r"no answer within 0.5 s.*tried 3 times.*same command", 3),
        (Reply(body="<html>Sign in</html>"), r"garbage 3 times, last '<html>Sign in", 3),
        (Reply(body={"choices": []}), r"garbage.*choices", 3),
        (Reply(body={"choices": [{"finish_reason": "stop"}]}), "garbage", 3),
        (Reply(body={"error": {"message": "Overloaded"}}), "garbage.*Overloaded", 3),
        (Reply(body="[1, 2"), "garbage", 3),
        (ended(None, "text", 3), "garbage", 3),
        (ended("tool_calls", None, 0), "garbage", 3),
    ],
)
def test_what_does_not_pass(fake: Fake, reply: Reply, message: str, calls: int) -> None:
    fake.rule = lambda body: reply
    engine = loaded(fake, timeout_s=patience(reply))
    with pytest.raises(EngineError, match=message) as failed:
        engine.answer([many(1)])
    assert f"http://127.0.0.1:{fake.port}/v1" in str(failed.value)
    assert len(fake.asked()) == calls


def test_garbage_is_quoted_in_part(fake: Fake) -> None:
    fake.rule = lambda body: Reply(body="<html>" + "x" * 5000)
    with pytest.raises(EngineError, match=r"<html>x{194}'"):
        loaded(fake).answer([many(1)])


def test_one_failure_ends_the_others_and_keeps_what_was_answered(fake: Fake) -> None:
    def rule(body: Body) -> Reply | None:
        if body["seed"] < 2:
            return None
        if body["seed"] > 2:
            return Reply(stall=True)
        # Two answers are home, and the five calls that they and this one leave room for are here.
        until(lambda: len(fake.seen) == 1 + 7)
        return error(400, "bad seed")

    fake.rule = rule
    engine = loaded(fake, concurrency=5)
    begun = time.monotonic()
    with pytest.raises(EngineError, match="bad seed"):
        engine.answer([many(8)])
    assert time.monotonic() - begun < 3
    fake.rule = lambda body: None
    fake.seen.clear()
    assert len(engine.answer([many(8)])) == 8
    assert sorted(fake.seeds()) == [2, 3, 4, 5, 6, 7]


def test_a_server_that_is_not_there(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.stop()
    with pytest.raises(EngineError, match=rf"127.0.0.1:{fake.port}/v1: cannot be reached.*Is the"):
        loaded(fake)
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{fake.port}")
    with pytest.raises(EngineError, match=r"server inside needs node17 in NO_PROXY"):
        OpenAIEngine("http://node17:8000", retries=0).load(BASE)


def test_loopback_goes_past_the_proxy(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert loaded(fake).answer([many(1)])
    engine = OpenAIEngine(f"http://localhost:{fake.port}/v1/", retries=0)
    engine.load(BASE)


@pytest.mark.parametrize("url", ["localhost:8000", "http://", "ftp://host/v1", "http://host:port"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(EngineError, match=r"engine\.server\.url=.*http://host:8000/v1"):
        OpenAIEngine(url)


def test_from_a_notebook(fake: Fake) -> None:
    async def cell() -> list[Answer]:
        return loaded(fake).answer([many(2)])

    assert len(asyncio.run(cell())) == 2


def test_without_the_client(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(EngineError, match=r"pip install 'tsr\[openai\]'"):
        loaded(fake)


# The key


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (error(401, f"Incorrect API key provided: {SECRET}"), "environment variable MY_KEY"),
        (error(403, f"{SECRET} may not"), r"\*\*\* may not.*environment variable MY_KEY"),
        (error(400, f"Bearer {SECRET}"), r"Bearer \*\*\*"),
        (error(500, f"Bearer {SECRET}"), r"Bearer \*\*\*"),
        (Reply(404, f"<html>{SECRET}"), r"\*\*\*"),
        (Reply(body=f"<html>{SECRET}</html>"), r"garbage.*\*\*\*"),
        (Reply(stall=True), "no answer"),
        (Reply(cut=True), "cannot be reached"),
    ],
)
def test_no_failure_tells_the_key(
    fake: Fake,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    reply: Reply,
    message: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_KEY", f" {SECRET}\n")
    engine = loaded(fake, key_env="MY_KEY", timeout_s=patience(reply))
    fake.rule = lambda body: reply
    with pytest.raises(EngineError, match=message) as failed:
        engine.answer([many(2)])
    fake.stop()
    with pytest.raises(EngineError, match="cannot be reached") as gone:
        engine.answer([many(2)])
    assert {key for _, _, key in fake.seen} == {f"Bearer {SECRET}"}
    told = [*traceback.format_exception(failed.value), *traceback.format_exception(gone.value)]
    told += [repr(engine), repr(vars(engine)), repr(failed.value), repr(vars(failed.value))]
    told += [f"{r.getMessage()} {vars(r)}" for r in caplog.records]
    assert len(caplog.records) > 10
    assert SECRET not in "".join(told)
    assert failed.value.__context__ is None is failed.value.__cause__


@pytest.mark.parametrize("key", ["sk-two\nlines", "sk-ключ"])
def test_what_cannot_be_a_key(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(EngineError, match="OPENAI_API_KEY does not hold a key") as failed:
        loaded(fake)
    assert "sk-" not in "".join(traceback.format_exception(failed.value)) + caplog.text


def test_keys_stay_out_of_addresses_and_refused_adapters(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for url in (f"https://me:{SECRET}@host/v1", f"https://host/v1?key={SECRET}"):
        with pytest.raises(EngineError, match=r"\$OPENAI_API_KEY") as failed:
            OpenAIEngine(url)
        assert SECRET not in str(failed.value)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    fake.lora = lambda body: error(400, SECRET)
    with pytest.raises(EngineError, match="adapter") as failed:
        loaded(fake, TUNED)
    assert SECRET not in "".join(traceback.format_exception(failed.value))
