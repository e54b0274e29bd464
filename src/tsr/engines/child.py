"""`python -m tsr.engines.child DESCRIPTOR PARENT`: the other end of tsr.engines.process."""

import ctypes
import os
import signal
import sys
import traceback
from multiprocessing.connection import Connection

from tsr.engines.base import Engine, EngineError

# From <sys/prctl.h>: the signal that a process gets when its parent dies.
PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """End this process when its parent ends, even by SIGKILL, so that no GPU is held for nobody."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before it could be watched
        sys.exit(1)


def serve(pipe: Connection) -> None:
    """Build the engine and answer calls until the other end closes."""
    engine: Engine = pipe.recv()()
    while True:
        try:
            method, arguments = pipe.recv()
        except EOFError:
            engine.close()
            return
        pipe.send(_outcome(engine, method, arguments))


def _outcome(engine: Engine, method: str, arguments: tuple[object, ...]) -> tuple[str, object]:
    try:
        return "done", getattr(engine, method)(*arguments)
    except EngineError as error:
        return "refused", str(error)
    except Exception:  # noqa: BLE001 - it is raised at the other end
        return "failed", traceback.format_exc()


def main() -> None:
    """Serve the engine that comes through the pipe."""
    die_with(int(sys.argv[2]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    serve(Connection(int(sys.argv[1])))


if __name__ == "__main__":
    main()
