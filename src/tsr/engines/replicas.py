"""Several copies of an engine that share the work: data parallelism."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tsr.engines.base import Answer, Engine, ModelFiles, Request

T = TypeVar("T")


class Replicas:
    """Each copy answers every n-th request; the answers come in the order of the requests."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self.engines = list(engines)

    def load(self, model: ModelFiles) -> None:
        """Load the model everywhere, at the same time."""
        self._each(lambda engine, _: engine.load(model))

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """See Engine.answer."""
        count = len(self.engines)
        parts = self._each(lambda engine, i: engine.answer(requests[i::count]))
        rest = [iter(part) for part in parts]
        return [
            next(rest[number % count])
            for number, request in enumerate(requests)
            for _ in request.seeds
        ]

    def lengths(self, requests: Sequence[Request]) -> list[int]:
        """See Engine.lengths."""
        return self.engines[0].lengths(requests)

    def context(self) -> int:
        """See Engine.context."""
        return self.engines[0].context()

    def pause(self) -> None:
        """Pause all."""
        self._each(lambda engine, _: engine.pause())

    def close(self) -> None:
        """Close all."""
        self._each(lambda engine, _: engine.close())

    def _each(self, do: Callable[[Engine, int], T]) -> list[T]:
        with ThreadPoolExecutor(len(self.engines)) as pool:
            return list(pool.map(do, self.engines, range(len(self.engines))))
