"""What runs inside a job: one stage of a sweep, or the record of one run."""

import os
import socket
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from tsr import stopping
from tsr.config import RunConfig
from tsr.engines.build import build_engine
from tsr.executors.local import Failure, LocalExecutor
from tsr.executors.slurm.warning import requeue, saving
from tsr.loop import Run, build_run
from tsr.plan import plan_of
from tsr.progress import Reporter, console
from tsr.provenance import git_revision
from tsr.quiet import log_to_terminal
from tsr.recorder import Recorder, folder_of, group_of
from tsr.resources import ResourcesConfig
from tsr.stage import Stage
from tsr.store import NotVisible, Store
from tsr.trackers.base import open_tracker
from tsr.training.spread import spread_of


class JobFailed(RuntimeError):
    """The stage could not be made; SLURM shows the job as FAILED, and its dependents never run."""


@dataclass(frozen=True)
class Place:
    """The store that a job was submitted for, and the sweep it belongs to."""

    root: str
    check: str
    sweep: str
    host: str

    def store(self) -> Store:
        """The store. Raises NotVisible where this node does not see what was written at submission:

        with an empty store of its own it would begin everything anew.
        """
        store = Store(Path(self.root), check=self.check, revision=git_revision())
        if not store.sweeps.path(self.sweep).exists():
            raise NotVisible(
                f"the store {self.root} cannot be seen from node {socket.gethostname()}: it was "
                f"written on {self.host}, but its sweep {self.sweep} is not there. Put store= on a "
                "filesystem that all nodes share, and give its path as the nodes see it"
            )
        return store


@dataclass(frozen=True)
class StageJob:
    """Makes one stage, or one share of one. Called by submitit on the node."""

    stage: Stage
    key: str
    place: Place
    resources: ResourcesConfig

    def __call__(self) -> None:
        """Raises JobFailed with what went wrong; ends with SystemExit where it goes on later."""
        log_to_terminal()
        with saving(self.resources.slurm.notice_s):
            store = self.place.store()
            try:
                self._check()
                self._wait(store)
                self._make(store)
            except Exception as error:
                stopping.stop_if_asked()  # what dies of the warning has not failed
                store.notes.failed(self.key, str(error))
                raise

    def _check(self) -> None:
        if self.stage.key != self.key:
            raise JobFailed(
                f"{self.stage.kind} {self.key[:8]}: the code has changed since the job was "
                f"submitted, and would make {self.stage.key[:8]} instead; run the command again"
            )
        again, most = int(os.environ.get("SLURM_RESTART_COUNT", "0")), self.resources.slurm.requeues
        if again > most:
            raise JobFailed(
                f"{self.stage.label}: requeued {again} times without finishing; give it more time "
                f"(resources.slurm.{self.stage.job}.minutes), or raise resources.slurm.requeues"
            )

    def _wait(self, store: Store) -> None:
        """A place in the cluster is not for waiting: somebody else may need it."""
        until = time.monotonic() + self.resources.slurm.patience_s
        while (worker := store.claims.live(self.key)) is not None:
            if time.monotonic() > until:
                requeue(f"{self.stage.label} is being made by {worker}")
            time.sleep(store.poll_s)

    def _make(self, store: Store) -> None:
        executor = LocalExecutor(
            store,
            Reporter(console()),
            partial(build_engine, resources=self.resources),
            self.resources.engines,
            spread_of=partial(spread_of, self.resources),
        )
        try:
            executor.make(self.stage)
        finally:
            executor.close()
        for failure in executor.failures.values():
            raise JobFailed(f"{self.stage.label}: {failure.error}")


@dataclass(frozen=True)
class RecordJob:
    """Writes a run's folder and tells its tracker, once all that can be there is there."""

    config: RunConfig
    name: str
    place: Place

    def __call__(self) -> None:
        """One tracker run for the whole of it, whoever made the stages."""
        log_to_terminal()
        record(self.config, self.name, self.place.store())


def record(config: RunConfig, name: str, store: Store) -> list[Failure]:
    """Write what is known of a run that works no more; returns what it lacks."""
    run = build_run(config)
    folder = folder_of(config, name)
    tracker = open_tracker(config.tracker, name, group_of(config), str(folder), asdict(config))
    recorder = Recorder(name, run, store, tracker)
    recorder.begin(plan_of({name: run.stages}, run.goals, store))
    failures = lacking(run, store)
    recorder.end("failed" if failures else "done", failures)
    return failures


def lacking(run: Run, store: Store) -> list[Failure]:
    """What a run still wants, with the error of the job that should have made it."""
    plan = plan_of({"": run.stages}, run.goals, store)
    lacks: dict[Stage, Failure] = {}
    for stage in plan.to_run:
        note = store.notes.get(stage.key)
        culprits = [one for one in (*stage.inputs, *stage.companions) if one in lacks]
        if culprits:
            lacks[stage] = Failure(stage, f"not made, since {culprits[0].label} was not", None)
        else:
            error = (note.error if note else None) or "not made; see its log, and tsr.status"
            lacks[stage] = Failure(stage, error, Path(note.logs if note else run.config.runs))
    return list(lacks.values())
