"""What workers have told: how far they are, and how they failed."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tsr.progress import PROGRESS
from tsr.recorder import STATUS
from tsr.store import Store
from tsr.store.describe import Named
from tsr.store.sweeps import SweepFile

LOG_LINES: Final = 5


def log_end(folder: Path, job: str) -> tuple[str, ...]:
    """The last lines of a job's log; of the newest in its folder, where it has none of its own."""
    own = folder / f"{job}_0_log.out"
    try:
        logs = sorted(folder.glob("*_log.out"), key=lambda path: path.stat().st_mtime)
        return last_lines(own) if own.exists() else last_lines(logs[-1]) if logs else ()
    except OSError:  # somebody else's, in a folder that is closed to us
        return ()


def last_lines(path: Path) -> tuple[str, ...]:
    """The last lines of a file that hold anything."""
    lines = path.read_text(errors="replace").splitlines()
    return tuple(line for line in lines if line.strip())[-LOG_LINES:]


def progress(stage: Named, store: Store) -> str:
    """How far and how fast, as the worker noted it."""
    told = next(_told(stage, store), None)
    return "at work" if told is None else _said(told)


def _told(stage: Named, store: Store) -> Iterator[Mapping[str, Any]]:
    for part in store.leftovers(stage):
        try:
            yield json.loads((part / PROGRESS).read_text())
        except (FileNotFoundError, ValueError):
            continue


def _said(told: Mapping[str, Any]) -> str:
    made, seconds = told["done"] - told["begun"], told["seconds"]
    text = f"{told['done']}/{told['total']}"
    if not made or not seconds:
        return text
    left = (told["total"] - told["done"]) * seconds / made
    return f"{text}, {made / seconds:.2g}/s, {left:.0f} s left"


def failures_here(sweep: SweepFile) -> dict[str, tuple[str, Path | None]]:
    """Error and log of what failed in a sweep on this machine, by label; from its runs' folders."""
    found: dict[str, tuple[str, Path | None]] = {}
    for folder in sweep.folders.values():
        try:
            status = json.loads((Path(folder) / STATUS).read_text())
        except (OSError, ValueError):  # not there yet, half of it, or closed to us
            continue
        for failure in status["failures"]:
            if failure["log"]:  # without one it was not tried, since an input had failed
                found[failure["stage"]] = failure["error"], Path(failure["log"])
    return found
