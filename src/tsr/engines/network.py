"""What engines share that hold one of transformers' networks in this process."""

import gc
import sys
from typing import Generic, Protocol, TypeVar

from tsr.engines.base import EngineError


class Held(Protocol):
    """A network in memory, with what its engine needs beside it."""

    @property
    def context(self) -> int:
        """The most tokens that it takes."""


L = TypeVar("L", bound=Held)


class NetworkEngine(Generic[L]):
    """Holds one network at a time, or none; `load` and `answer` are each engine's own."""

    _loaded: L | None = None

    def context(self) -> int:
        """The most tokens (prompt and answer) that the loaded model takes."""
        return self._model.context

    def pause(self) -> None:
        """A network is read again faster than memory is found for it beside a training."""
        self.close()

    def close(self) -> None:
        """Forget the model and give its memory back."""
        if self._loaded is not None:
            self._loaded = None
            give_back()

    @property
    def _model(self) -> L:
        if self._loaded is None:
            raise EngineError("no model is loaded: call load() first")
        return self._loaded


def give_back() -> None:
    """Free what nothing refers to any more, on a GPU as well; networks and trainers hold cycles."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def device_of(name: str) -> str:
    """The device that a config names: `auto` takes a GPU where there is one."""
    import torch

    return name if name != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
