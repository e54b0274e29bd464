"""An engine in a process of its own: all its memory comes back when it ends, however it ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from tsr.engines.base import Answer, Engine, EngineError, ModelFiles, Request

# A healthy engine ends at once; one that hangs is not waited for.
PATIENCE_S = 30


class ProcessEngine:
    """The same engine elsewhere: calls go through a pipe. See tsr.engines.base.Engine.

    make: builds the engine; called in the process, so it must be picklable.
    environment: variables of the process beside this one's own, such as which GPUs it sees.

    The process is started by the first call, and again after it died. It is killed with this
    process, even when that is killed. A death raises EngineError in the call that was under way.
    """

    def __init__(self, make: Callable[[], Engine], environment: Mapping[str, str] = {}) -> None:
        self.make, self.environment = make, dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None

    @property
    def pid(self) -> int | None:
        """The process's id while there is one."""
        return self._process.pid if self._process else None

    def load(self, model: ModelFiles) -> None:
        """See Engine.load."""
        self._call("load", model)

    def answer(self, requests: Sequence[Request], *more: Any) -> list[Answer]:
        """See Engine.answer."""
        return list(self._call("answer", list(requests), *more))

    def lengths(self, requests: Sequence[Request]) -> list[int]:
        """See Engine.lengths."""
        return list(self._call("lengths", list(requests)))

    def context(self) -> int:
        """See Engine.context."""
        return int(self._call("context"))

    def pause(self) -> None:
        """See Engine.pause."""
        if self._process is not None:
            self._call("pause")

    def close(self) -> None:
        """End the process."""
        if self._process is None:
            return
        process, pipe = self._process, self._pipe
        self._process = self._pipe = None
        assert pipe is not None
        pipe.close()  # what it waits for, so it ends
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _call(self, method: str, *arguments: Any) -> Any:
        pipe = self._pipe or self._start()
        try:
            pipe.send((method, arguments))
            kind, value = pipe.recv()
        except (EOFError, ConnectionError, BrokenPipeError) as error:
            raise EngineError(self._death()) from error
        except BaseException:  # interrupted: an answer that nobody waits for is in the pipe
            self._kill()
            raise
        if kind == "refused":
            raise EngineError(value)
        if kind == "failed":
            raise RuntimeError(f"the engine's process failed:\n{value}")
        return value

    def _start(self) -> Connection:
        ours, theirs = Pipe()
        with theirs:
            descriptor = theirs.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tsr.engines.child", str(descriptor), str(os.getpid())],
                pass_fds=[descriptor],
                env=os.environ | self.environment,
            )
        self._pipe = ours
        self._pipe.send(self.make)
        return ours

    def _death(self) -> str:
        assert self._process is not None
        pid, code = self._process.pid, self._process.wait()
        self._forget()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return (
            f"the engine's process {pid} {how}; where it was the system's memory that ran out, "
            "lower engine.batch_size or resources.gpu_memory. The same command goes on from the "
            "last saved block"
        )

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._forget()

    def _forget(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None
