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
from typing import Any

from tsr.config import RunConfig
from tsr.executors.slurm import queue
from tsr.executors.slurm.graph import Task, tasks_of
from tsr.executors.slurm.job import Place, StageJob
from tsr.executors.slurm.queue import RECORD, Job, SlurmError, array_of, name_of
from tsr.executors.slurm.sbatch import parameters, unswayed
from tsr.fanout.queued import Queued, cancel, shares_name
from tsr.fanout.record import RecordJob, recorded
from tsr.plan import Plan
from tsr.settings import Refused
from tsr.stage import Stage
from tsr.stages.share import Share, shares_root
from tsr.store import Busy
from tsr.store.claim import Claim
from tsr.store.errors import StoreError
from tsr.store.jobs import Note
from tsr.store.sweeps import now
from tsr.sweep import Sweep

log = logging.getLogger("tsr")


@dataclass(frozen=True)
class Given:
    """A job for a stage, or the array for its shares.

    after: ids of the jobs it waits for. new: whether it was submitted just now. tasks: of an
    array; 0 for a job that is none.
    """

    stage: Stage
    job: str
    after: tuple[str, ...] = ()
    new: bool = True
    tasks: int = 0


@dataclass
class Submitted:
    """What was given to SLURM. jobs: one a stage, arrays: what those jobs wait for besides.

    records: the job that writes a run's folder, by the run's name. unwritten: runs that lack
    nothing but their folder.
    """

    sweep: str
    jobs: list[Given] = field(default_factory=list)
    arrays: dict[Stage, Given] = field(default_factory=dict)
    records: dict[str, str] = field(default_factory=dict)
    unwritten: list[str] = field(default_factory=list)

    @property
    def new(self) -> int:
        """How many jobs were submitted just now."""
        return sum(job.new for job in self.jobs)


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
        self.done = Submitted(sweep.name)
        self.ids: dict[Stage, str] = {}
        self.fresh: set[Stage] = set()
        self.new: list[str] = []

    def submit(self) -> Submitted:
        """Submit, inputs first. Raises SlurmError with sbatch's own words where it refuses."""
        if find_spec("submitit") is None:
            raise Refused("hydra/launcher=slurm: needs submitit; pip install 'tsr[slurm]'")
        self.store.layout.prepare()
        with self._alone():
            self.queued = Queued(self.store, self.tag)
            plan = self.sweep.plan()
            self.known = self._known_records()
            self.sweep.note("slurm", plan, self.known)
            try:
                self._all(plan)
            except BaseException:  # half a graph is of no use, whatever came between
                self._take_back()
                raise
            self.sweep.note("slurm", plan, self.done.records)
        return self.done

    def _known_records(self) -> dict[str, str]:
        """The record jobs of an earlier submission of this sweep that came to its end."""
        if not self.store.sweeps.path(self.sweep.name).exists():
            return {}
        return self.store.sweeps.get(self.sweep.name).records

    def _all(self, plan: Plan) -> None:
        for task in tasks_of(plan.to_run, self.slurm):
            given = self._task(task)
            self.ids[task.stage] = given.job
            self.done.jobs.append(given)
        for name in self.sweep.runs:
            self._record(name)

    def _take_back(self) -> None:
        cancel(self.new)
        if not self.known:  # no job waits for it, so it must keep none from being cancelled
            with suppress(StoreError):
                self.store.sweeps.cancelled(self.store.sweeps.get(self.sweep.name))

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

    def _task(self, task: Task) -> Given:
        """A job for a stage: the one that is in the queue, or a new one."""
        stage, alive = task.stage, self.queued.job(task.stage)
        if alive is not None and self.fresh.isdisjoint(task.needs):
            return Given(stage, alive.array, new=False)
        if not self.fresh.isdisjoint(task.needs):
            # What is queued still waits for one that failed: it will never run.
            self.queued.drop(stage)
        self.fresh.add(stage)
        after = tuple(self.ids[need] for need in task.needs)
        wait = [f"afterok:{job}" for job in after]
        if task.after is not None:
            wait.append(f"afterany:{self.ids[task.after]}")
            after += (self.ids[task.after],)
        return self._split(task, after, wait) if task.shares else self._whole(task, after, wait)

    def _whole(self, task: Task, after: tuple[str, ...], wait: Sequence[str]) -> Given:
        stage = task.stage
        self.queued.drop_strays(stage, ())
        (job,) = self._submit(stage, [stage], stage.job, name_of(stage, self.tag), wait)
        self._note(stage, job)
        return Given(stage, job, after)

    def _split(self, task: Task, after: tuple[str, ...], wait: Sequence[str]) -> Given:
        """An array for the shares that nobody makes, and a job that puts all of them together."""
        stage, shares = task.stage, task.shares
        self.queued.drop_strays(stage, shares)
        self.store.keep(shares_root(stage), [share.key for share in shares])
        at_work = [job for share in shares if (job := self.queued.task(share))]
        lost = self.queued.lost(shares)
        new = self._array(stage, lost, wait) if lost else []
        array = [array_of(new[0])] if new else []
        arrays = tuple(dict.fromkeys([*map(array_of, at_work), *array]))
        if arrays:
            self.done.arrays[stage] = Given(
                stage, arrays[-1], after, bool(new), len(at_work) + len(new)
            )
        # With all blocks there, what is left is light.
        oks = [f"afterok:{job}" for job in (*at_work, *array)]
        name = name_of(stage, self.tag)
        (job,) = self._submit(stage, [stage], "light", name, oks or wait)
        self._note(stage, job, len(shares), arrays[-1] if arrays else None)
        return Given(stage, job, arrays or after)

    def _array(self, stage: Stage, lost: Sequence[Share], wait: Sequence[str]) -> list[str]:
        jobs = self._submit(stage, lost, stage.job, shares_name(stage, self.tag), wait)
        for share, job in zip(lost, jobs, strict=True):
            self._note(share, job, logs=self._logs(stage))
        return jobs

    def _logs(self, stage: Stage) -> Path:
        return self.logs / f"{stage.kind}-{stage.key[:12]}"

    def _submit(
        self, whole: Stage, parts: Sequence[Stage], sort: str, name: str, wait: Sequence[str]
    ) -> list[str]:
        resources = self.first.resources
        calls = [StageJob(part, part.key, self.place, resources, sort) for part in parts]
        return self._sbatch(calls, sort, name, self._logs(whole), wait)

    def _sbatch(
        self, calls: Sequence[Any], sort: str, name: str, logs: Path, wait: Sequence[str]
    ) -> list[str]:
        """Submit one job, or an array where there are several calls. Returns their ids."""
        from submitit import SlurmExecutor
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        python = self.slurm.python or shlex.quote(sys.executable)
        asked = parameters(self.slurm, sort, name, ",".join(wait) or None)
        executor = SlurmExecutor(logs, python=f"exec {python}")
        executor.update_parameters(**asked)
        try:
            # Before SLURM 23.02 a job whose log has no folder dies without a word.
            logs.mkdir(parents=True, exist_ok=True)
            with unswayed(asked):
                ids = [str(job.job_id) for job in executor.submit_array(calls)]
        except (FailedJobError, FailedSubmissionError, OSError) as error:
            raise SlurmError(
                f"resources.slurm.{sort}: {said(error)}; nothing stays submitted"
            ) from error
        self.new += ids
        return ids

    def _note(
        self,
        stage: Stage,
        job: str,
        shares: int = 0,
        array: str | None = None,
        logs: Path | None = None,
    ) -> None:
        folder, user = str(logs or self._logs(stage)), getpass.getuser()
        note = Note(stage.key, stage.label, job, folder, shares, array, user, now())
        self.store.notes.put(note)

    def _record(self, name: str) -> None:
        """A job that writes a run's folder at last; one that lacks nothing needs none."""
        run = self.sweep.runs[name]
        waits = [self.ids[stage] for stage in run.stages if stage in self.ids]
        alive = self.queued.named(self._record_name(name))
        known = alive is not None and alive.job == self.known.get(name)
        if alive is not None and (known or not waits) and self.fresh.isdisjoint(run.stages):
            self.done.records[name] = alive.job
        elif waits:
            self.done.records[name] = self._new_record(run.config, name, waits, alive)
        elif not recorded(run, self.sweep.folder(name)):
            self.done.unwritten.append(name)

    def _new_record(
        self, config: RunConfig, name: str, waits: Sequence[str], alive: Job | None
    ) -> str:
        if alive is not None:  # it does not wait for what was submitted just now
            cancel([alive.job])
        call = RecordJob(config, name, self.place)
        wait = [f"afterany:{':'.join(waits)}"]
        logs = self.logs / f"record-{name}"
        return self._sbatch([call], "light", self._record_name(name), logs, wait)[0]

    def _record_name(self, name: str) -> str:
        # Two users may have the same run, each with a folder of their own.
        return f"{RECORD}{name}.{queue.path_tag(self.logs.parent)}"


def said(error: Exception) -> str:
    """sbatch's own words, out of what submitit makes of them."""
    lines = [line for line in str(error).splitlines() if line.startswith("sbatch:")]
    return " ".join(line.removeprefix("sbatch: ") for line in lines) or str(error)
