"""A training in this process or in several: the same call, the same files, the same figures."""

import json
import logging
import os
import select
import shutil
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tsr import stopping
from tsr.resources import ResourcesConfig
from tsr.settings import Refused
from tsr.stage import Stage
from tsr.training import launch
from tsr.training.outcome import OUTCOMES, STOP, TELLS, TRAINER, NoPairs, TrainingError
from tsr.training.work import Work
from tsr.workbench import Progress, Spread, Workbench

log = logging.getLogger("tsr")

LOOK_S = 0.5
KEPT_LINES = 15
# What a process raised is raised here as the same; anything else is named in a RuntimeError.
OWN = {kind.__name__: kind for kind in (NoPairs, TrainingError, Refused)}


def spread_of(resources: ResourcesConfig, stage: Stage) -> Spread:
    """What a stage's training gets here; only a job of a cluster has more than one node."""
    nodes = resources.slurm.of(stage.job).nodes or 1
    here = int(os.environ.get("SLURM_JOB_NUM_NODES", "1"))
    training = resources.training
    return Spread(training.processes, min(nodes, here), training.strategy)


def train(bench: Workbench, work: Work) -> dict[str, Any]:
    """Carry out a training, spread as the bench says. Returns its figures.

    Raises what the training raises, in whichever process, and Stopped where it was told to stop:
    its checkpoint is saved then. Raises Refused for a spread that cannot be had.
    """
    if bench.spread.total == 1:
        return work.carry_out(bench)
    gpus = launch.gpus()
    launch.check(bench.spread, gpus)
    _check_batch(bench.spread, work)
    folder = _fresh(bench.folder / TRAINER)
    work.save(folder)
    precision = work.settings.precision
    command = launch.command(bench.spread, folder, precision, gpus)
    with launch.started(command, launch.environment(bench.spread, precision, gpus)) as processes:
        assert processes.stdout is not None
        last = _follow(bench, processes.stdout.fileno(), folder / STOP)
        code = processes.wait()
    return _outcome(folder, code, last)


def _check_batch(spread: Spread, work: Work) -> None:
    settings, name = work.settings, f"train.{work.trainer}"
    if settings.batch_size % spread.total:
        raise Refused(
            f"{name}.batch_size={settings.batch_size}: {spread.total} processes cannot share it "
            "evenly; change it, or resources.training.processes"
        )


def _fresh(folder: Path) -> Path:
    """The folder without what an earlier try said; its checkpoints stay."""
    folder.mkdir(exist_ok=True)
    (folder / STOP).unlink(missing_ok=True)
    shutil.rmtree(folder / OUTCOMES, ignore_errors=True)
    (folder / OUTCOMES).mkdir()
    return folder


def _follow(bench: Workbench, output: int, stop: Path) -> list[str]:
    """Log what the processes print and show their progress until they end; pass a stop on."""
    last: deque[str] = deque(maxlen=KEPT_LINES)
    with ExitStack() as stack:
        screen = _Screen(bench, stack)
        for line in _lines(output):
            if stopping.asked():
                stop.touch()
            if line.startswith(TELLS):
                screen.show(json.loads(line.removeprefix(TELLS)))
            elif line:
                log.debug("%s", line)
                last.append(line)
    return list(last)


def _lines(output: int) -> Iterator[str]:
    """Whole lines as they come; an empty one now and then where none comes."""
    rest = b""
    while True:
        if not select.select([output], [], [], LOOK_S)[0]:
            yield ""
            continue
        data = os.read(output, 1 << 16)
        *lines, rest = (rest + data).split(b"\n")
        yield from (line.decode(errors="replace").rstrip() for line in lines)
        if not data:
            yield rest.decode(errors="replace")
            return


class _Screen:
    """Shows what rank 0 tells of its progress."""

    def __init__(self, bench: Workbench, stack: ExitStack) -> None:
        self.bench, self.stack = bench, stack
        self.progress: Progress | None = None

    def show(self, told: dict[str, Any]) -> None:
        """A beginning or an advance; see tsr.training.worker."""
        if "total" in told:
            self.progress = self.stack.enter_context(self.bench.progress(**told))
        elif self.progress is not None:
            self.progress.advance(told["amount"])


def _outcome(folder: Path, code: int, last: list[str]) -> dict[str, Any]:
    """The figures of rank 0, or the failure that came first: others may follow from it."""
    files = sorted((folder / OUTCOMES).iterdir(), key=lambda path: path.stat().st_mtime_ns)
    said = {path.stem: json.loads(path.read_text()) for path in files}
    for one in said.values():
        if "error" in one:
            raise _error(one, last)
    first = said.get("0", {})
    if "stopped" in first:
        raise stopping.Stopped(first["stopped"])
    if "figures" not in first:
        end = "\n".join(last)
        raise RuntimeError(f"the training's processes ended with {code}; their last lines:\n{end}")
    return dict(first["figures"])


def _error(said: dict[str, str], last: list[str]) -> Exception:
    if said["error"] in OWN:
        return OWN[said["error"]](said["message"])
    end = "\n".join(last)
    return RuntimeError(f"{said['error']}: {said['message']}; the training's last lines:\n{end}")
