"""Pair building for 4,000 prompts x 21 candidates: reading, scoring, selecting, writing."""

import random
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tsr.compose import compose_all
from tsr.jsonl import write_jsonl
from tsr.judges.parse import parse_score
from tsr.loop import build_run
from tsr.stage import Stage
from tsr.stages.judge import Judgements
from tsr.stages.pair import Pairs

PROMPTS, K, TEXTS = 4000, 7, 100_000
WORDS = [
    "the",
    "model",
    "writes",
    "an",
    "answer",
    "of",
    "some",
    "length",
    "about",
    "a",
    "subject",
    "that",
    "was",
    "asked",
    "for",
]


@dataclass
class Bench:
    """The two methods of a workbench that pairing uses."""

    root: Path
    folder: Path

    def artifact(self, stage: Stage) -> Path:
        return self.root / stage.key[:16]


def fill(bench: Bench, pool: Judgements, rng: random.Random) -> None:
    for stage in (pool, pool.pool, pool.pool.prompts):
        bench.artifact(stage).mkdir(exist_ok=True)
    prompts = [
        {"id": f"{n:016x}", "prompt": " ".join(rng.choices(WORDS, k=20)), "constraints": []}
        for n in range(PROMPTS)
    ]
    write_jsonl(bench.artifact(pool.pool.prompts) / "prompts.jsonl", prompts)
    names = [(p["id"], j) for p in prompts for j in range(K)]
    same = {"model": pool.pool.name, "draw": pool.pool.draw}
    candidates: list[dict[str, Any]] = [
        {"prompt_id": p, "sample": j, "text": " ".join(rng.choices(WORDS, k=100)),
         "finish": "stop", "tokens": 120, "prompt_tokens": 30} | same
        for p, j in names
    ]  # fmt: skip
    judgements = [
        {"prompt_id": p, "sample": j, "judgement": 0, "score": float(rng.randint(0, 5)),
         "text": " ".join(rng.choices(WORDS, k=60)), "reason": None} | same
        for p, j in names
    ]  # fmt: skip
    write_jsonl(bench.artifact(pool.pool) / "candidates.jsonl", candidates)
    write_jsonl(bench.artifact(pool) / "judgements.jsonl", judgements)


def parse() -> float:
    """Seconds to read the scores off so many judgements of about 400 characters."""
    rng = random.Random(1)
    texts = [
        f"{' '.join(rng.choices(WORDS, k=80))}\n\nScore: {rng.randint(0, 5)}" for _ in range(TEXTS)
    ]
    began = time.perf_counter()
    scores = [parse_score(text, 0, 5) for text in texts]
    assert None not in scores
    return time.perf_counter() - began


def main() -> dict[str, float]:
    config = compose_all(["model=tiny", "variant=temporal", f"k={K}", "iterations=1"], False)[0]
    stage: Pairs = build_run(config).final.pairs  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as name:
        bench, rng = Bench(Path(name), Path(name) / "out"), random.Random(0)
        bench.folder.mkdir()
        for pool in stage.pools:
            fill(bench, pool, rng)
        times = []
        for _ in range(3):
            began = time.perf_counter()
            figures = stage.produce(bench)  # type: ignore[arg-type]
            times.append(time.perf_counter() - began)
    took, parsing = statistics.median(times), parse()
    print(f"parsing {TEXTS} judgements: {parsing:.2f} s (target, with the pairs of as many, 5)")
    print(
        f"pairs of {PROMPTS} prompts x {K * len(stage.pools)} candidates: {took:.2f} s (target 2), "
        f"median of 3; {figures['pairs']} pairs"
    )
    return {"pairs_s": took, "parsing_s": parsing}


if __name__ == "__main__":
    main()
