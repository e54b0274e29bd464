"""Sampling and option scoring with SmolLM2 in bf16, against a plain `model.generate`.

Answers are short so that it stays under four minutes; with longer ones the ratio grows.
"""

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from tsr.engines import decoding
from tsr.engines.base import Message, ModelFiles, Request
from tsr.engines.transformers_engine import TransformersEngine
from tsr.models import smollm2

PROMPTS, K, NEW, ROUNDS = 32, 4, 16, 3
# Batch sizes that `generate` may choose from, by a trial of so many tokens.
ROWS, TRIAL = (16, 32, 64, 128), 3
JUDGED, RUBRIC = 100, 300
WORDS = ("river", "house", "old", "music", "people", "stories", "about", "the", "and", "long")


def salad(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(WORDS, k=words))


def prompts() -> list[Request]:
    rng = random.Random(0)
    texts = [f"Write a story about this: {salad(rng, rng.randint(5, 40))}" for _ in range(PROMPTS)]
    return [
        Request(str(i), (Message(role="user", content=t),), tuple(range(K)), max_new_tokens=NEW)
        for i, t in enumerate(texts)
    ]


def judge_prompts() -> list[Request]:
    rng = random.Random(1)
    rubric = salad(rng, RUBRIC)
    texts = [f"{rubric} {salad(rng, rng.randint(20, 60))}" for _ in range(JUDGED)]
    ask = {"opening": "Score: ", "options": tuple("012345")}
    return [
        Request(str(i), (Message(role="user", content=t),), (0,), **ask)  # type: ignore[arg-type]
        for i, t in enumerate(texts)
    ]


class Plain:
    """`generate` as one would write it: prompts sorted by length, batches padded on the left."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()

    def tokens(self, requests: Sequence[Request], rows: int, new: int) -> int:
        """How many real tokens were made."""
        chats = sorted((list(r.messages) for r in requests), key=lambda m: len(m[0]["content"]))
        return sum(
            self._batch(chats[i : i + rows // K], new) for i in range(0, len(chats), rows // K)
        )

    def _batch(self, chats: list[Any], new: int) -> int:
        inputs = self.tokenizer.apply_chat_template(
            chats, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
        )
        settings = {"do_sample": True, "top_k": 0, "num_return_sequences": K}
        out = self.model.generate(**inputs, **settings, max_new_tokens=new)
        made = out[:, inputs["input_ids"].shape[1] :]
        ended = made == self.tokenizer.eos_token_id
        return int((ended.cumsum(1) - ended.int() == 0).sum())


def rate(count: Callable[[], int]) -> float:
    began = time.perf_counter()
    made = count()
    return made / (time.perf_counter() - began)


def sampling(engine: TransformersEngine, plain: Plain) -> dict[str, float]:
    asked = prompts()
    trials = {rate(lambda rows=rows: plain.tokens(asked, rows, TRIAL)): rows for rows in ROWS}  # type: ignore[misc]
    rows = trials[max(trials)]
    rounds = []
    for _ in range(ROUNDS):
        ours = rate(lambda: sum(a.tokens for a in engine.answer(asked)))
        theirs = rate(lambda: plain.tokens(asked, rows, NEW))
        rounds.append((ours, theirs, ours / theirs))
    ours, theirs, ratio = map(statistics.median, zip(*rounds, strict=True))
    print(
        f"sampling {PROMPTS} prompts x {K} x {NEW} tokens: {ours:.0f} tokens/s, generate (its "
        f"best, {rows} rows) {theirs:.0f}: {ratio:.2f} times as fast (target 1), median of {ROUNDS}"
    )
    return {"engine_tokens_s": ours, "generate_tokens_s": theirs, "engine_over_generate": ratio}


def options(engine: TransformersEngine) -> dict[str, float]:
    asked, worth, rounds = judge_prompts(), decoding.WORTH, []
    part = asked[:: JUDGED // 10]  # without sharing it takes long, and the rate is the same
    for _ in range(ROUNDS):
        shared = rate(lambda: len(engine.answer(asked)))
        decoding.WORTH = 10**9
        alone = rate(lambda: len(engine.answer(part)))
        decoding.WORTH = worth
        rounds.append((shared, alone, shared / alone))
    shared, alone, ratio = map(statistics.median, zip(*rounds, strict=True))
    print(
        f"options of {JUDGED} prompts with a common rubric of {RUBRIC} tokens: {shared:.1f} "
        f"prompts/s, each read whole {alone:.1f}: {ratio:.2f} times as fast, median of {ROUNDS}"
    )
    return {"options_prompts_s": shared, "options_shared_over_whole": ratio}


def main() -> dict[str, float]:
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        smollm2.convert(folder)
        engine = TransformersEngine("bf16", device="cpu")
        engine.load(ModelFiles("smollm2", folder))
        return sampling(engine, Plain(folder)) | options(engine)


if __name__ == "__main__":
    main()
