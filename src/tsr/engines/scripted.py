"""An engine without a model, for tests: the same request gets the same words every time."""

import math
import random
from collections.abc import Callable, Sequence

from tsr.engines.base import Answer, ModelFiles, Request
from tsr.seeds import seed_of

Rule = Callable[[Request, int], str]
WORDS = (
    *("the", "a", "river", "house", "answer", "number", "3", "7", "runs", "is", "was", "likes"),
    *("blue", "old", "very", "and", "but", "yes,", "no,", "today."),
)
LONGEST = 30


class ScriptedEngine:
    """Answers by a rule, (request, seed) -> text; without one by words drawn from the seed.

    A token is a word. What is drawn depends on the model's name, so two models differ.
    """

    def __init__(self, rule: Rule | None = None) -> None:
        self.rule, self.model = rule or self._words, ""

    def load(self, model: ModelFiles) -> None:
        """Take the model's name; its files need not exist."""
        self.model = model.name

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """All samples of all requests, in their order."""
        make = {True: self._chosen, False: self._said}
        return [
            make[bool(request.options)](request, sample)
            for request in requests
            for sample in range(len(request.seeds))
        ]

    def lengths(self, requests: Sequence[Request]) -> list[int]:
        """Words of each request."""
        return [sum(len(m["content"].split()) for m in r.messages) for r in requests]

    def context(self) -> int:
        """More than anyone asks for."""
        return 1_000_000

    def pause(self) -> None:
        """Nothing is held."""

    def close(self) -> None:
        """Nothing is held."""

    def _said(self, request: Request, sample: int) -> Answer:
        text = self.rule(request, request.seeds[sample])
        tokens = len(text.split()) + 1  # and the end of the turn
        logprobs = tuple([-1.0] * tokens) if request.logprobs else None
        (length,) = self.lengths([request])
        return Answer(request.id, sample, text, "stop", tokens, length, logprobs)

    def _chosen(self, request: Request, sample: int) -> Answer:
        """With the rest of the vocabulary the options' probabilities sum to 1."""
        rng = self._random(request)
        weights = [rng.random() + 0.01 for _ in (*request.options, "the rest")]
        shares = [math.log(weight / sum(weights)) for weight in weights[:-1]]
        options = dict(zip(request.options, shares, strict=True))
        (length,) = self.lengths([request])
        return Answer(request.id, sample, "", "options", 0, length, options=options)

    def _words(self, request: Request, seed: int) -> str:
        rng = self._random(request, seed)
        most = max(1, min(LONGEST, request.max_new_tokens - 1))
        return " ".join(rng.choices(WORDS, k=rng.randint(1, most)))

    def _random(self, request: Request, *seed: int) -> random.Random:
        return random.Random(seed_of(self.model, request.messages, request.opening, *seed))
