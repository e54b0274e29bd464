"""`python -m tsr.engines.child DESCRIPTOR PARENT`: the other end of tsr.engines.process.

A call is a pickled (method, arguments) or nothing, which is the end. It is answered by a pair:
("done", the result), ("refused", the text of an EngineError) or ("failed", a traceback).
"""

import os
import pickle
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection

from tsr.engines.base import Engine, EngineError

WATCH_S = 0.5


def die_with(parent: int) -> None:
    """Kill this process and all that it started once its parent has ended, even by SIGKILL.

    So no GPU is held for nobody. PR_SET_PDEATHSIG is not for this: it tells the end of the thread
    that started the process. Nor is the pipe: what the parent forked may hold its other end.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_S)
        die()

    threading.Thread(target=watch, daemon=True).start()


def die() -> None:
    """Kill the group that this process leads: itself and all that it started."""
    os.killpg(os.getpid(), signal.SIGKILL)


def serve(pipe: Connection) -> None:
    """Answer calls until there are no more; the first is `build`, with what builds the engine."""
    engine: Engine | None = None
    while data := pipe.recv_bytes():
        try:
            method, arguments = pickle.loads(data)
            if method == "build":
                engine, result = arguments[0](), None
            else:
                result = getattr(engine, method)(*arguments)
            pipe.send(("done", result))
        except EngineError as error:
            pipe.send(("refused", str(error)))
        except Exception:  # noqa: BLE001 - it is raised at the other end
            pipe.send(("failed", traceback.format_exc()))
    if engine is not None:
        engine.close()


def main() -> None:
    """Serve the engine that comes through the pipe."""
    die_with(int(sys.argv[2]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    pipe = Connection(int(sys.argv[1]))
    # The pipe is to end with this process, whatever that leaves behind.
    os.set_inheritable(pipe.fileno(), False)
    os.register_at_fork(after_in_child=pipe.close)
    try:
        serve(pipe)
    except (EOFError, ConnectionError):  # the parent went without a word
        die()


if __name__ == "__main__":
    main()
