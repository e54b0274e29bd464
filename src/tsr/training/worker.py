"""`python -m tsr.training.worker FOLDER`: one process of a training; a launcher starts them all.

FOLDER holds the work. Each process leaves its outcome there; rank 0 tells its progress in lines of
its output that begin with TELLS.
"""

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch.distributed as dist

from tsr import stopping
from tsr.engines.child import die_with
from tsr.store.files import write_json
from tsr.training.outcome import OUTCOMES, STOP, TELLS
from tsr.training.ranks import rank
from tsr.training.work import Work
from tsr.workbench import Workbench

LOOK_S = 0.5


@dataclass(frozen=True)
class Bench:
    """As much of a workbench as a training needs."""

    folder: Path

    @contextmanager
    def progress(self, what: str, total: int, done: int = 0) -> Iterator["Bench"]:
        """See Workbench.progress; the stage's process shows it."""
        _tell({"what": what, "total": total, "done": done})
        yield self

    def advance(self, amount: int = 1) -> None:
        """See tsr.workbench.Progress."""
        _tell({"amount": amount})


def _tell(told: dict[str, Any]) -> None:
    if rank() == 0:
        print(f"{TELLS}{json.dumps(told)}", flush=True)


def _ask_once_told(stop: Path) -> None:
    def watch() -> None:
        while not stop.exists():
            time.sleep(LOOK_S)
        stopping.ask()

    threading.Thread(target=watch, daemon=True).start()


def _outcome(folder: Path) -> dict[str, Any]:
    bench = cast(Workbench, Bench(folder.parent))
    try:
        return {"figures": Work.load(folder).carry_out(bench)}
    except stopping.Stopped as stopped:
        return {"stopped": str(stopped)}
    except Exception as error:  # noqa: BLE001 - it is raised in the stage's process
        traceback.print_exc()
        return {"error": type(error).__name__, "message": str(error)}


def main() -> None:
    """Do this process's part and leave its outcome."""
    die_with(os.getppid())  # which leads another group; torch's launcher gives each its own
    folder = Path(sys.argv[1])
    if rank() == 0:
        _ask_once_told(folder / STOP)  # the others hear it from this one
    outcome = _outcome(folder)
    write_json(folder / OUTCOMES / f"{rank()}.json", outcome)
    sys.stdout.flush()
    sys.stderr.flush()
    if "error" in outcome:
        os._exit(1)  # at once: the others wait for this one, and tearing down would wait for them
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
