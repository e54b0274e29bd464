"""Several copies of an engine that share the work: data parallelism."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, TypeVar

from tsr.engines.base import Answer, Engine, ModelFiles, Request
from tsr.engines.process import ProcessEngine

T = TypeVar("T")


class Replicas:
    """Each copy answers every n-th request; the answers come in the order of the requests.

    An error reaches the caller when all copies are done, so the others stay usable. Where the
    caller is interrupted, copies in processes of their own are killed: nobody waits for them.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        self.engines = list(engines)

    def load(self, model: ModelFiles) -> None:
        """Load the model everywhere, at the same time."""
        self._each(lambda engine, _: engine.load(model))

    def answer(self, requests: Sequence[Request], *more: Sequence[Any]) -> list[Answer]:
        """See Engine.answer; what an engine takes beside the requests goes with them."""
        count = len(self.engines)
        shares = [[part[i::count] for part in (requests, *more)] for i in range(count)]
        parts = self._each(lambda engine, i: engine.answer(*shares[i]) if shares[i][0] else [])
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
            try:
                doing = [pool.submit(do, engine, i) for i, engine in enumerate(self.engines)]
                wait(doing)
            except BaseException:
                self._kill()
                raise
        return [future.result() for future in doing]

    def _kill(self) -> None:
        for engine in self.engines:
            if isinstance(engine, ProcessEngine):
                engine.kill()
