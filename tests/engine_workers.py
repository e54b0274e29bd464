"""Engines for the tests of processes: they do what the request says.

Run as a script: `engine_workers.py ENDING MARK` starts one in a process of its own, prints the pids
of that and of its child, and ends (or waits to be ended) in the way named; while the engine works,
the file MARK is there.
"""

import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tsr.engines.base import EngineError, Message, ModelFiles, Request
from tsr.engines.process import ProcessEngine
from tsr.engines.replicas import Replicas
from tsr.engines.scripted import ScriptedEngine

MODEL = ModelFiles("m", Path("nowhere"))
PATHS = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
HERE = {"PYTHONPATH": os.pathsep.join(PATHS)}


def ask(text: str, *seeds: int) -> Request:
    return Request(text, (Message(role="user", content=text),), seeds or (0,))


def act(request: Request, seed: int) -> str:
    """Text for a request that names one of the functions below and its arguments."""
    name, *arguments = request.messages[0]["content"].split()
    return str(ACTS[name](*arguments))


def refuse(*words: str) -> str:
    raise EngineError(" ".join(words))


def fail(*words: str) -> str:
    raise ValueError(" ".join(words))


def leave(code: str) -> str:
    raise SystemExit(int(code))


def die(signal_name: str) -> str:
    os.kill(os.getpid(), signal.Signals[signal_name])
    return "alive"


def sleep(seconds: str, mark: str = "") -> str:
    if mark:
        Path(mark).touch()
    time.sleep(float(seconds))
    return "slept"


def spin(mark: str) -> str:
    """Work without end that never lets go of the processor of its own accord."""
    Path(mark).touch()
    while True:
        pass


def spawn() -> int:
    return subprocess.Popen(["sleep", "600"]).pid


def fork() -> int:
    """A process that keeps all that its parent has open, like a worker of vLLM's."""
    if not (pid := os.fork()):
        time.sleep(600)
        os._exit(0)
    return pid


def cut() -> str:
    """Die in the middle of an answer."""
    os.write(int(sys.argv[1]), struct.pack("!i", 1000) + b"some of it")
    return die("SIGKILL")


def local() -> str:
    class Local(str):
        def __str__(self) -> str:
            return self

    return Local("a class that cannot be pickled")


def sockets() -> int:
    """How many are open here: one pipe end is a socket."""
    links = [fd for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    return sum(str(fd.readlink()).startswith("socket:") for fd in links)


def say(*words: str) -> str:
    print(*words, flush=True)
    return sys.stdin.read()


ACTS: dict[str, Callable[..., object]] = {
    **{a.__name__: a for a in (refuse, fail, leave, die, sleep, spin, spawn, fork, cut, local)},
    **{"sockets": sockets, "say": say, "pid": os.getpid, "environ": os.environ.get},
}


class Unbuildable(ScriptedEngine):
    def __init__(self, kind: type[Exception]) -> None:
        raise kind("no such thing")


class Hanging(ScriptedEngine):
    def close(self) -> None:
        time.sleep(600)


class Marking(ScriptedEngine):
    """Leaves a file behind when it is closed."""

    def __init__(self, mark: Path) -> None:
        super().__init__(act)
        self.mark = mark

    def close(self) -> None:
        self.mark.touch()


def acting() -> ProcessEngine:
    """An engine in a process of its own that does what it is told."""
    return ProcessEngine(partial(ScriptedEngine, act), HERE)


def text_of(engine: ProcessEngine | Replicas, words: str) -> str:
    return engine.answer([ask(words)])[0].text


def main(ending: str, mark: str) -> None:
    if ending == "threads":
        # The threads that started the processes are gone.
        copies = [acting(), acting()]
        replicas = Replicas(copies)
        replicas.load(MODEL)
        print(*(copy.pid for copy in copies), flush=True)
        replicas.answer([ask(f"sleep 600 {mark}")] * 2)
        return
    engine = acting()
    engine.load(MODEL)
    print(engine.pid, text_of(engine, "spawn"), flush=True)
    match ending:
        case "raises":
            raise ValueError("the parent's own")
        case "idle":
            Path(mark).touch()
            time.sleep(600)
        case "busy":
            text_of(engine, f"sleep 600 {mark}")
        case "spins":
            text_of(engine, f"spin {mark}")
        case "forks":
            # A fork that outlives its parent holds the parent's end of the pipe.
            print(fork(), flush=True)
            text_of(engine, f"sleep 600 {mark}")


if __name__ == "__main__":
    import engine_workers  # by the name that the processes can import it under

    engine_workers.main(*sys.argv[1:])
