"""An engine in a process of its own: all its memory comes back when it ends, however it ends."""

import logging
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from typing import Any

from tsr.engines.base import Answer, Engine, EngineError, ModelFiles, Request

log = logging.getLogger("tsr")

# A healthy engine ends at once; one that hangs is not waited for.
PATIENCE_S = 30


class ProcessEngine:
    """The same engine elsewhere: calls go through a pipe. See tsr.engines.base.Engine.

    make: builds the engine; called in the process, so it must be picklable.
    environment: variables of the process beside this one's own, such as which GPUs it sees.
    ends: whether a pause ends the process; a GPU's memory is then all given back.

    A load starts the process where there is none, or a dead one. A death raises EngineError in the
    call that was under way. The process and all that it started end with close(), with this object
    and with this process, even when that is killed. What it prints goes to this one's stderr.
    """

    def __init__(
        self,
        make: Callable[[], Engine],
        environment: Mapping[str, str] = {},
        ends: bool = False,
    ) -> None:
        self.make, self.environment, self.ends = make, dict(environment), ends
        self._child: _Child | None = None

    @property
    def pid(self) -> int | None:
        """The process's id while there is one."""
        return self._child.pid if self._child else None

    def load(self, model: ModelFiles) -> None:
        """See Engine.load."""
        self._mourn()
        if self._child is None:
            self._start()
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
        """See Engine.pause; an engine that ends in a pause takes its process with it."""
        self._mourn()
        if self.ends:
            self.close()
        elif self._child is not None:
            self._call("pause")

    def close(self) -> None:
        """End the process, which may close its engine first."""
        child, self._child = self._child, None
        if child is not None:
            child.close()

    def kill(self) -> None:
        """End the process at once; the call under way in another thread raises EngineError."""
        child = self._child
        if child is not None:
            child.kill()

    def _start(self) -> None:
        child = self._child = _Child(self.environment)
        weakref.finalize(self, _Child.drop, child)  # also at the end of the interpreter
        try:
            self._call("build", self.make)
        except BaseException:
            self._child = None
            child.end()
            raise

    def _call(self, method: str, *arguments: Any) -> Any:
        child = self._child
        if child is None:
            raise EngineError("no model is loaded: call load() first")
        try:
            kind, value = child.call(method, arguments)
        except (EOFError, OSError) as error:  # OSError: it died in the middle of an answer
            self._child = None
            raise EngineError(child.death(PATIENCE_S)) from error
        except BaseException:  # interrupted: an answer that nobody waits for will be in the pipe
            self._child = None
            child.end()
            raise
        if kind == "refused":
            raise EngineError(value)
        if kind == "failed":
            raise RuntimeError(f"the engine's process failed:\n{value}")
        return value

    def _mourn(self) -> None:
        """Forget a process that died when nothing was asked of it."""
        if self._child is not None and self._child.dead():
            log.warning("%s", self._child.death())
            self._child = None


class _Child:
    """The process, which leads a group of its own, and the pipe to it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.owner, self.ended = os.getpid(), False
        self.pipe, theirs = Pipe()
        with theirs:
            descriptor = str(theirs.fileno())
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tsr.engines.child", descriptor, str(self.owner)],
                pass_fds=[theirs.fileno()],
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=2,
                start_new_session=True,
            )
        self.pid = self.process.pid

    def call(self, method: str, arguments: Sequence[Any]) -> tuple[str, Any]:
        """The outcome of a call, as tsr.engines.child tells it."""
        self.pipe.send((method, arguments))
        kind, value = self.pipe.recv()
        return kind, value

    def dead(self) -> bool:
        """Whether it has ended by itself."""
        return self.process.poll() is not None

    def death(self, patience: float = 0) -> str:
        """Clear up, and say how it ended; until it does, wait as long as `patience` seconds."""
        code = self.end(patience)
        how, hint = f"ended with {code}", ""
        if code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        if code == -signal.SIGKILL:
            hint = (
                "Where it was the system's memory that ran out, lower engine.batch_size or "
                "resources.gpu_memory. "
            )
        return (
            f"the engine's process {self.pid} {how}. {hint}The same command goes on from the last "
            "saved block"
        )

    def close(self) -> None:
        """Let it close its engine and end."""
        with suppress(OSError):
            self.pipe.send_bytes(b"")
        self.end(PATIENCE_S)

    def end(self, patience: float = 0) -> int:
        """End it and all that it started, not before `patience` seconds; its exit code."""
        try:
            if patience:
                self.process.wait(patience)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.kill()
            self.process.wait()
            self.ended = True
            self.pipe.close()
        return self.process.returncode

    def kill(self) -> None:
        """Kill its group, of which something may be left when itself has ended."""
        if not self.ended:  # later the number may be another's
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def drop(self) -> None:
        """End it, unless this is a fork of the process that started it."""
        if os.getpid() == self.owner and not self.ended:
            self.end()
