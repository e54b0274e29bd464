"""The vLLM engine with SmolLM2 in bf16: against bare vLLM, other ways of asking, and transformers.

Needs vLLM (`make vllm`); takes about eight minutes on two cores.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.bench_engine import Plain, rate, salad
from tsr.config import EngineConfig, JudgeConfig, ResourcesConfig, VLLMConfig
from tsr.engines.base import Message, ModelFiles, Request
from tsr.engines.transformers_engine import TransformersEngine
from tsr.engines.vllm_engine import VLLMEngine
from tsr.judges.base import Case
from tsr.judges.self_judge import SelfJudge
from tsr.models import smollm2

PROMPTS, K, NEW, ROUNDS = 64, 4, 32, 3
JUDGED, CANDIDATES, RANK = 100, 7, 16


def prompts(count: int) -> list[Request]:
    import random

    rng = random.Random(0)
    texts = [f"Write a story about this: {salad(rng, rng.randint(5, 40))}" for _ in range(count)]
    return [
        Request(str(i), (Message(role="user", content=t),), tuple(range(K * i, K * i + K)))
        for i, t in enumerate(texts)
    ]


def limited(requests: Sequence[Request], new: int = NEW) -> list[Request]:
    return [replace(request, max_new_tokens=new) for request in requests]


def judged() -> list[Request]:
    """The self-judge's questions about `CANDIDATES` answers to each of `JUDGED` prompts."""
    import random

    rng, judge = random.Random(1), SelfJudge.of(JudgeConfig(scoring="expected"))
    found = []
    for p in range(JUDGED):
        prompt = f"Write about {salad(rng, rng.randint(10, 40))}"
        for c in range(CANDIDATES):
            case = Case(f"{p}/{c}", prompt, (), salad(rng, rng.randint(30, 80)))
            found.append(judge.request(case))
    return found


def bare(engine: VLLMEngine, requests: Sequence[Request]) -> int:
    """vllm.LLM.generate in one call, as its documentation has it: n samples a prompt."""
    from vllm import SamplingParams, TokensPrompt

    chat, stops = engine._chat(engine._loaded)
    asked = [TokensPrompt(prompt_token_ids=list(p)) for p in chat.prompts(requests)]
    sampling = [
        SamplingParams(n=K, seed=r.seeds[0], max_tokens=NEW, stop_token_ids=list(stops))
        for r in requests
    ]
    made = engine._llm.generate(asked, sampling, use_tqdm=False)
    return sum(len(out.token_ids) for one in made for out in one.outputs)


def ours(engine: Any, requests: Sequence[Request]) -> int:
    return sum(answer.tokens for answer in engine.answer(requests))


def in_turn(engine: Any, requests: Sequence[Request]) -> int:
    """One question at a time, as a peer does."""
    return sum(ours(engine, [request]) for request in requests)


def one_by_one(engine: Any, requests: Sequence[Request]) -> int:
    """Batches of one, as others do."""
    return sum(ours(engine, [replace(r, seeds=(s,))]) for r in requests for s in r.seeds)


def sampling(engine: VLLMEngine, slow: TransformersEngine, plain: Plain) -> dict[str, float]:
    asked, few = limited(prompts(PROMPTS)), limited(prompts(4))
    ours(engine, few)  # first calls pay for what is set up once
    rounds: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        ways: dict[str, Callable[[], int]] = {
            "engine": lambda: ours(engine, asked),
            "bare vLLM": lambda: bare(engine, asked),
            "one question at a time": lambda: in_turn(engine, limited(prompts(12))),
            "transformers engine": lambda: ours(slow, asked[::2]),
            "transformers' generate": lambda: plain.tokens(asked[::4], 64, NEW),
            "transformers, batches of one": lambda: one_by_one(slow, few[:2]),
        }
        for way, count in ways.items():
            rounds.setdefault(way, []).append(rate(count))
    found = {way: statistics.median(rates) for way, rates in rounds.items()}
    for way, tokens in found.items():
        ratio = found["engine"] / tokens
        print(f"{way:30} {tokens:6.0f} tokens/s   engine is {ratio:5.2f} times as fast")
    print("  (targets: 0.95 of bare vLLM, 2.8 times transformers)")
    return found


def switching(engine: VLLMEngine, base: ModelFiles, adapters: Sequence[ModelFiles]) -> float:
    """Seconds to make another of three models answer, weights pushed; worst of all changes."""
    times = []
    for model in (*adapters, base) * 3:
        began = time.perf_counter()
        engine.load(model)
        times.append(time.perf_counter() - began)
    print(f"change of model, in process: median {statistics.median(times):.2f} s, "
          f"worst {max(times):.2f} s (target 1 s)")  # fmt: skip
    return max(times)


def judging(engine: VLLMEngine) -> float:
    asked = judged()
    began = time.perf_counter()
    answers = engine.answer(asked)
    took = time.perf_counter() - began
    sent = sum(answer.prompt_tokens for answer in answers)
    known = sum(answer.cached_tokens for answer in answers)
    print(
        f"judging {CANDIDATES} x {JUDGED} by expected score: {took:.0f} s, {sent} prompt tokens, "
        f"prefix cache hit rate {known / sent:.2f}, computed / sent {1 - known / sent:.2f} "
        "(target at most 0.6)"
    )
    return 1 - known / sent


def adapter_of(base: Path, folder: Path, seed: int) -> ModelFiles:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    config = LoraConfig(r=RANK, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)
    return ModelFiles(f"adapter {seed}", base, folder)


def serving(base: Path, adapters: Sequence[ModelFiles], pushed: float) -> dict[str, float]:
    """Tokens per second with adapters served as adapters, against pushed weights."""
    config = EngineConfig(name="vllm", batch_size=256, vllm=VLLMConfig(serve="adapters"))
    engine, asked = VLLMEngine(config, ResourcesConfig()), limited(prompts(16))
    engine.load(ModelFiles("base", base))
    ours(engine, asked[:2])
    found = {"base, adapters possible": rate(lambda: ours(engine, asked))}
    engine.load(adapters[0])
    found["one adapter"] = rate(lambda: ours(engine, asked))
    mixed = [adapters[i % 2] for i in range(len(asked))]
    found["two adapters in a batch"] = rate(
        lambda: sum(a.tokens for a in engine.answer(asked, mixed))
    )
    engine.close()
    for way, tokens in found.items():
        print(f"{way:30} {tokens:6.0f} tokens/s   pushed weights are "
              f"{pushed / tokens:5.2f} times as fast")  # fmt: skip
    return found


def main() -> dict[str, float]:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        smollm2.convert(folder / "base")
        base = ModelFiles("base", folder / "base")
        adapters = [adapter_of(base.base, folder / f"a{i}", i) for i in range(2)]
        engine = VLLMEngine(EngineConfig(name="vllm", batch_size=256), ResourcesConfig())
        slow = TransformersEngine("bf16", device="cpu")
        engine.load(base)
        slow.load(base)
        found = sampling(engine, slow, Plain(base.base))
        slow.close()
        found["worst change of model, s"] = switching(engine, base, adapters)
        engine.load(base)
        pushed = rate(lambda: ours(engine, limited(prompts(16))))
        found["judging: computed / sent"] = judging(engine)
        engine.close()
        return found | serving(base.base, adapters, pushed)


if __name__ == "__main__":
    main()
