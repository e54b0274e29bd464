"""From the plan of a sweep to jobs in SLURM's queue."""

import getpass
import logging
import shlex
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from tsr.config import RunConfig
from tsr.executors.slurm import queue
from tsr.executors.slurm.graph import Task, tasks_of
from tsr.executors.slurm.job import Place, StageJob
from tsr.executors.slurm.queue import Job, SlurmError, name_of
from tsr.executors.slurm.sbatch import parameters
from tsr.fanout.record import RecordJob, record, recorded
from tsr.plan import Plan
from tsr.settings import Refused
from tsr.stage import Stage
from tsr.stages.share import Share, shares_root
from tsr.store import Busy
from tsr.store.claim import Claim
from tsr.store.jobs import Note
from tsr.store.sweeps import now
from tsr.sweep import Sweep

log = logging.getLogger("tsr")

# How long jobs that are completing are waited for: they end, or are back in the queue.
LEAVING_S: Final = 15


@dataclass
class Submitted:
    """What was given to SLURM. jobs: (stage, job id, ids waited for, whether it is new)."""

    sweep: str
    jobs: list[tuple[Stage, str, tuple[str, ...], bool]] = field(default_factory=list)
    records: dict[str, str] = field(default_factory=dict)

    @property
    def new(self) -> int:
        """How many jobs were submitted just now."""
        return sum(new for *_, new in self.jobs)


class Submission:
    """Submits what is missing of a sweep, and nothing that is in the queue already."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep, self.store = sweep, sweep.store
        self.first: RunConfig = sweep.configs[0]
        self.slurm = self.first.resources.slurm
        self.tag = queue.path_tag(self.store.root)
        self.logs = Path(self.first.runs).resolve() / "slurm" / sweep.name
        self.place = Place(
            str(self.store.root.resolve()), self.store.check, sweep.name, socket.gethostname()
        )
        self.ids: dict[Stage, str] = {}
        self.fresh: set[Stage] = set()
        self.new: list[str] = []

    def submit(self) -> Submitted:
        """Submit, inputs first. Raises SlurmError with sbatch's own words where it refuses."""
        if find_spec("submitit") is None:
            raise Refused("hydra/launcher=slurm: needs submitit; pip install 'tsr[slurm]'")
        self.store.layout.prepare()
        with self._alone():
            self.live = {job.name: job for job in self._queued() if job.useful}
            plan = self.sweep.plan()
            self.known = self._known_records()
            self.sweep.note("slurm", plan, self.known)
            done = Submitted(self.sweep.name)
            try:
                self._all(plan, done)
            except BaseException:  # half a graph is of no use, whatever came between
                with suppress(SlurmError):
                    queue.cancel(self.new)
                raise
            self.sweep.note("slurm", plan, done.records)
        return done

    def _known_records(self) -> dict[str, str]:
        """The record jobs of an earlier submission of this sweep that came to its end."""
        if not self.store.sweeps.path(self.sweep.name).exists():
            return {}
        return self.store.sweeps.get(self.sweep.name).records

    def _queued(self) -> list[Job]:
        """What is in the queue, once no job of this store's is on its way out of it, or back."""
        for _ in range(LEAVING_S):
            found = queue.queued()
            if not any(j.state == "COMPLETING" and j.name.endswith(self.tag) for j in found):
                break
            time.sleep(1)
        return found

    def _all(self, plan: Plan, done: Submitted) -> None:
        for task in tasks_of(plan.to_run, self.slurm):
            done.jobs.append(self._task(task))
        done.records = self._records()

    def _alone(self) -> Claim:
        """Of two who submit into one store, the second sees what the first has submitted."""
        told = False
        while True:
            try:
                return self.store.exclusive("submission", "a submission into this store")
            except Busy as busy:
                if not told:
                    log.info("waiting: %s", busy)
                told = True
                time.sleep(self.store.poll_s)

    def _task(self, task: Task) -> tuple[Stage, str, tuple[str, ...], bool]:
        stage = task.stage
        self._drop_torn(stage, name_of(stage, self.tag))
        alive = self.live.get(name_of(stage, self.tag))
        if alive is not None and self.fresh.isdisjoint(task.needs):
            self.ids[stage] = alive.array
            return stage, alive.array, (), False
        if not self.fresh.isdisjoint(task.needs):
            self._cancel_old(stage)
        self.fresh.add(stage)
        needs = [f"afterok:{self.ids[need]}" for need in task.needs]
        if task.after is not None:
            needs.append(f"afterany:{self.ids[task.after]}")
        logs = self._logs(stage)
        array = self._array(task.shares, needs) if task.shares else None
        # With all blocks there, what is left is to put them together.
        sort = "light" if task.shares else stage.job
        wait = [f"afterok:{array}"] if array else needs
        (job,) = self._sbatch([self._job(stage, sort)], sort, name_of(stage, self.tag), logs, wait)
        self.ids[stage] = job
        self._note(stage, job, logs, len(task.shares), array)
        return stage, job, tuple(need.partition(":")[2] for need in needs), True

    def _drop_torn(self, stage: Stage, name: str) -> None:
        """Cancel a job whose submission was killed in its midst: it has nothing to run.

        A job is noted once all that it needs is on the disk.
        """
        alive, note = self.live.get(name), self.store.notes.get(stage.key)
        if alive and (note is None or note.job.partition("_")[0] != alive.array):
            with suppress(SlurmError):
                queue.cancel([self.live.pop(name).array])

    def _cancel_old(self, stage: Stage) -> None:
        """Jobs that are queued still, but wait for one that failed: they will never run."""
        names = (name_of(stage, self.tag), shares_name(stage, self.tag))
        with suppress(SlurmError):  # another user's: SLURM itself removes it
            queue.cancel([self.live.pop(name).array for name in names if name in self.live])

    def _array(self, shares: Sequence[Share], needs: Sequence[str]) -> str | None:
        """The array that makes the shares which are not there; None where all of them are."""
        missing = [share for share in shares if not self.store.has(share)]
        if not missing:
            return None
        name = shares_name(shares[0].whole, self.tag)
        self._drop_torn(missing[0], name)
        if name in self.live:
            return self.live[name].array
        self.store.keep(shares_root(shares[0].whole), [share.key for share in shares])
        sort, logs = shares[0].job, self._logs(shares[0].whole)
        ids = self._sbatch([self._job(s, sort) for s in missing], sort, name, logs, needs)
        for share, job in zip(missing, ids, strict=True):
            self._note(share, job, logs)
        return ids[0].partition("_")[0]

    def _job(self, stage: Stage, sort: str) -> StageJob:
        return StageJob(stage, stage.key, self.place, self.first.resources, sort)

    def _logs(self, stage: Stage) -> Path:
        return self.logs / f"{stage.kind}-{stage.key[:12]}"

    def _sbatch(
        self, calls: Sequence[Any], sort: str, name: str, logs: Path, wait: Sequence[str]
    ) -> list[str]:
        """Submit one job, or an array where there are several calls. Returns their ids."""
        from submitit import SlurmExecutor
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        python = self.slurm.python or shlex.quote(sys.executable)
        executor = SlurmExecutor(logs, python=f"exec {python}")
        executor.update_parameters(**parameters(self.slurm, sort, name, ",".join(wait) or None))
        try:
            # Before SLURM 23.02 a job whose log has no folder dies without a word.
            logs.mkdir(parents=True, exist_ok=True)
            ids = [str(job.job_id) for job in executor.submit_array(calls)]
        except (FailedJobError, FailedSubmissionError, OSError) as error:
            raise SlurmError(
                f"resources.slurm.{sort}: {said(error)}; nothing stays submitted"
            ) from error
        self.new += ids
        return ids

    def _note(
        self, stage: Stage, job: str, logs: Path, shares: int = 0, array: str | None = None
    ) -> None:
        self.store.notes.put(
            Note(stage.key, stage.label, job, str(logs), shares, array, getpass.getuser(), now())
        )

    def _records(self) -> dict[str, str]:
        """A job a run that writes its folder at last; a run that lacks nothing is written now."""
        found = {}
        for name, run in self.sweep.runs.items():
            waits = [self.ids[stage] for stage in run.stages if stage in self.ids]
            alive = self.live.get(self._record_name(name))
            if not waits:
                if not recorded(run, self.sweep.folder(name)):
                    record(run.config, name, self.store)
            elif alive and alive.job == self.known.get(name) and self.fresh.isdisjoint(run.stages):
                found[name] = alive.job
            else:
                found[name] = self._record(run.config, name, waits, alive)
        return found

    def _record(self, config: RunConfig, name: str, waits: Sequence[str], alive: Job | None) -> str:
        if alive is not None:  # it does not wait for what was submitted just now
            with suppress(SlurmError):
                queue.cancel([alive.job])
        call = RecordJob(config, name, self.place)
        wait = [f"afterany:{':'.join(waits)}"]
        logs = self.logs / f"record-{name}"
        return self._sbatch([call], "light", self._record_name(name), logs, wait)[0]

    def _record_name(self, name: str) -> str:
        # Two users may have the same run, each with a folder of their own.
        return f"record-{name}.{queue.path_tag(self.logs.parent)}"


def shares_name(stage: Stage, tag: str) -> str:
    """The name of the array that makes a stage's shares."""
    return name_of(stage, tag).replace("-", "_shares-", 1)


def said(error: Exception) -> str:
    """sbatch's own words, out of what submitit makes of them."""
    lines = [line for line in str(error).splitlines() if line.startswith("sbatch:")]
    return " ".join(line.removeprefix("sbatch: ") for line in lines) or str(error)
