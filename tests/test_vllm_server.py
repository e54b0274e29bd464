"""engine=openai against a real server on loopback: vLLM's, with adapters loaded while it runs."""

import os
import socket
import string
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import pytest
from test_vllm import TEXTS, adapter, ask, texts, told
from tiny_models import build_tiny

from tsr.engines.base import EngineError, ModelFiles, Request
from tsr.engines.openai_engine import OpenAIEngine
from tsr.engines.transformers_engine import TransformersEngine

pytest.importorskip("vllm", reason="needs vLLM: `make vllm`")

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("default")]
START_S = 180


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    folder = tmp_path_factory.mktemp("base")
    build_tiny(folder, "llama")
    return ModelFiles("base", folder)


@pytest.fixture(scope="module")
def tuned(base: ModelFiles, tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    folder = tmp_path_factory.mktemp("tuned")
    return ModelFiles("7" * 64, base.base, adapter(base.base, folder, 0))


@pytest.fixture(scope="module")
def url(base: ModelFiles, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the server listens, once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = ["--dtype", "float32", "--max-model-len", "2048", "--enforce-eager"]
    settings += ["--enable-lora", "--max-lora-rank", "8", "--enable-prompt-tokens-details"]
    settings += ["--no-enable-chunked-prefill", "--max-num-batched-tokens", "2048"]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *settings]
    command += ["--model", str(base.base), "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "1",
        "HF_HUB_OFFLINE": "1",
    }
    log = tmp_path_factory.mktemp("server") / "log.txt"
    with log.open("w") as out:
        server = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
        try:
            wait_for(f"http://127.0.0.1:{port}/v1/models", server, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            server.wait(60)


def wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(START_S):
        if server.poll() is not None:
            break
        try:
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address).close()
        except (URLError, ConnectionError):
            time.sleep(1)
        else:
            return
    raise AssertionError(f"the server did not start:\n{log.read_text()[-3000:]}")


def weigh(text: str) -> Request:
    """Many options: a server tells those among its 20 likeliest tokens only."""
    return ask(text, (0,), opening="Score: ", options=tuple(string.ascii_letters + string.digits))


def test_a_server_says_what_the_model_says(url: str, base: ModelFiles, tuned: ModelFiles) -> None:
    local, server = TransformersEngine("fp32", device="cpu"), OpenAIEngine(url)
    for model in (base, tuned, base):
        local.load(model)
        server.load(model)
        expected = local.answer([weigh(text) for text in TEXTS])
        found = server.answer([weigh(text) for text in TEXTS])
        for ours, theirs in zip(expected, found, strict=True):
            assert ours.prompt_tokens == theirs.prompt_tokens
            shared = set(theirs.options or {})
            assert {o: theirs.options[o] for o in shared} == pytest.approx(  # type: ignore[index]
                {o: ours.options[o] for o in shared},  # type: ignore[index]
                abs=5e-3,
            )
        assert told(found), "none of so many options is among the 20 likeliest tokens"
    server.close()


def test_samples_have_seeds_of_their_own(url: str, base: ModelFiles) -> None:
    server = OpenAIEngine(url)
    server.load(base)
    many = server.answer([ask(text, range(4)) for text in TEXTS])
    few = server.answer([ask(text, range(2)) for text in TEXTS])
    assert texts(few) == [a.text for a in many if a.sample < 2]
    assert len({a.text for a in many if a.request == TEXTS[1]}) > 1
    server.close()


def test_a_prompt_over_the_servers_context_is_too_long(url: str, base: ModelFiles) -> None:
    server = OpenAIEngine(url)
    server.load(base)
    answers = server.answer([ask("Hi.", (0,)), ask("word " * 500, (0,))])
    assert [answer.finish == "too_long" for answer in answers] == [False, True]
    server.close()


def test_a_full_checkpoint_cannot_be_served_by_a_running_server(
    url: str, base: ModelFiles, tmp_path: Path
) -> None:
    server = OpenAIEngine(url)
    server.load(base)
    with pytest.raises(EngineError, match="lora"):
        server.load(ModelFiles("full", tmp_path))
    server.close()
