"""Generation: K candidates of one model for each prompt."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, ClassVar, TypeVar

from tsr.config import EngineConfig, SamplingConfig
from tsr.data.rows import Row
from tsr.engines.base import Answer, Engine, Message, Request
from tsr.jsonl import read_jsonl, write_jsonl
from tsr.seeds import seed_of
from tsr.selectors import Candidate
from tsr.stage import Sibling, Stage, key_of
from tsr.stages.blocks import BLOCKS, in_blocks
from tsr.stages.model import Model
from tsr.stages.pool import Pool
from tsr.stages.prompts import Prompts
from tsr.stages.share import Splittable
from tsr.stages.siblings import MOST_K, known_rows
from tsr.workbench import Workbench

T = TypeVar("T")


@dataclass(frozen=True, eq=False, repr=False)
class Generate(Pool, Splittable):
    """Writes `candidates.jsonl`, keyed by (prompt_id, model, draw, sample).

    draw: which independent set of K this is; see variant.anchor_pool.
    Prompts too long for the context have no candidates; they are counted as `too_long`.
    """

    kind: ClassVar[str] = "generate"
    needs: ClassVar[str] = "generate"
    scratch: ClassVar[tuple[str, ...]] = (BLOCKS,)

    model: Model
    prompts: Prompts
    k: int
    draw: int
    sampling: SamplingConfig
    engine: EngineConfig
    seed: int

    @property
    def count(self) -> int:
        """How many candidates are asked for."""
        return self.prompts.count * self.k

    @cached_property
    def siblings(self) -> tuple[Sibling, ...]:
        """The same draw with other K: a sample does not depend on how many are asked for."""
        recipe, prompts = self.recipe(), self.prompts.count
        return tuple(
            Sibling(self.kind, key_of(recipe | {"k": k}), k, prompts * k)
            for k in range(MOST_K, 0, -1)
            if k != self.k
        )

    @property
    def companions(self) -> tuple[Stage, ...]:
        """Whoever reads candidates reads their prompts."""
        return (self.prompts,)

    @property
    def job(self) -> str:
        """Who asks a server needs no GPU."""
        return "light" if self.engine.name == "openai" else self.needs

    @property
    def each(self) -> int:
        """K."""
        return self.k

    @property
    def tag(self) -> str:
        """Base model, engine, precision, longest answer."""
        e = self.engine
        return f"{self.model.base.key[:8]} {e.name} {e.dtype} {self.sampling.max_new_tokens}"

    @property
    def name(self) -> str:
        """How rows name the model: the short form of its key."""
        return self.model.key[:16]

    def produce(self, bench: Workbench) -> dict[str, Any]:
        """Take what a sibling has, sample the rest in blocks of prompts of like length."""
        first, known = known_rows(bench, self, self.k, "candidates.jsonl")
        sampled = self._sampled(bench, first) if first < self.k else []
        made = known + [r for r in sampled if r["finish"] != "too_long"]
        made.sort(key=lambda r: (r["prompt_id"], r["sample"]))
        write_jsonl(bench.folder / "candidates.jsonl", made)
        work = {"units": len(made) - len(known), "reused": len(known)}
        return self._figures(bench, made) | work

    @property
    def blocks(self) -> int:
        """Of prompts."""
        return math.ceil(self.prompts.count / self._block(0))

    def work(self, bench: Workbench) -> int:
        """See Splittable."""
        first, _ = known_rows(bench, self, self.k, "candidates.jsonl")
        return len(self._sampled(bench, first)) if first < self.k else 0

    def rows(self, bench: Workbench) -> list[Row]:
        """The prompts."""
        return self.prompts.read(bench)

    def read(self, bench: Workbench) -> list[Candidate]:
        """The finished candidates, without scores."""
        path = bench.artifact(self) / "candidates.jsonl"
        return [
            Candidate(
                r["prompt_id"],
                r["model"],
                r["draw"],
                r["sample"],
                r["text"],
                None,
                r["finish"],
                r["tokens"],
            )
            for r in read_jsonl(path)
        ]

    def _sampled(self, bench: Workbench, first: int) -> list[dict[str, Any]]:
        """Samples from number `first` on."""

        @cache
        def engine() -> Engine:
            return bench.engine(self.engine, self.model.files(bench))

        return in_blocks(
            bench,
            f"{self.label}: prompts",
            [self._request(row, first) for row in self.prompts.read(bench)],
            self._block(first),
            lambda block: [self._row(a, first) for a in engine().answer(block)],
            order=lambda requests: by_length(engine(), requests, lambda request: request),
            tag=f"from{first}-" if first else "",
        )

    def _block(self, first: int) -> int:
        """Prompts in a block."""
        return max(1, self.engine.block // (self.k - first))

    def _request(self, row: Row, first: int) -> Request:
        # The model is in the seed, so that two models' noise on one prompt is independent.
        name = (self.seed, self.name, row.id, self.draw)
        seeds = tuple(seed_of(*name, j) for j in range(first, self.k))
        s = self.sampling
        messages = (Message(role="user", content=row.prompt),)
        return Request(row.id, messages, seeds, s.temperature, s.top_p, s.max_new_tokens)

    def _row(self, a: Answer, first: int) -> dict[str, Any]:
        return {
            "prompt_id": a.request,
            "model": self.name,
            "draw": self.draw,
            "sample": first + a.sample,
            "text": a.text,
            "finish": a.finish,
            "tokens": a.tokens,
            "prompt_tokens": a.prompt_tokens,
        }

    def _figures(self, bench: Workbench, made: list[dict[str, Any]]) -> dict[str, Any]:
        finish = Counter(r["finish"] for r in made)
        answered = {r["prompt_id"] for r in made}
        return {
            "candidates": len(made),
            "tokens": sum(r["tokens"] for r in made),
            "cut_at_max_tokens": finish["length"],
            "empty": sum(not r["text"].strip() for r in made),
            "too_long": sum(row.id not in answered for row in self.prompts.read(bench)),
        }


def by_length(engine: Engine, items: Sequence[T], request_of: Callable[[T], Request]) -> list[T]:
    """Items whose requests are of like length side by side: batches then hold little padding."""
    requests = [request_of(item) for item in items]
    lengths = engine.lengths(requests)
    order = sorted(range(len(items)), key=lambda i: (lengths[i], requests[i].id))
    return [items[i] for i in order]
