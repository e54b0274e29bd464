"""What runs inside a job: one stage of a sweep, or one share of it."""

import os
import socket
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tsr import stopping
from tsr.engines.build import build_engine
from tsr.executors.local import LocalExecutor
from tsr.executors.slurm.warning import requeue, saving
from tsr.progress import Reporter, console
from tsr.provenance import git_revision
from tsr.quiet import log_to_terminal
from tsr.resources import ResourcesConfig
from tsr.stage import Stage
from tsr.store import NotVisible, Store
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
    """Makes one stage, or one share of one. Called by submitit on the node.

    sort: whose resources it has, a field of resources.slurm.
    """

    stage: Stage
    key: str
    place: Place
    resources: ResourcesConfig
    sort: str

    def __call__(self) -> None:
        """Raises JobFailed with what went wrong; ends with SystemExit where it goes on later."""
        log_to_terminal()
        with saving(self.resources.slurm.notice_s):
            store = self.place.store()
            try:
                self._check(store)
                self._wait(store)
                self._make(store)
            except Exception as error:
                stopping.stop_if_asked()  # what dies of the warning has not failed
                store.notes.failed(self.key, str(error))
                raise

    def _check(self, store: Store) -> None:
        if self.stage.key != self.key:
            raise JobFailed(
                f"{self.stage.kind} {self.key[:8]}: the code has changed since the job was "
                f"submitted, and would make {self.stage.key[:8]} instead; run the command again"
            )
        again, note = int(os.environ.get("SLURM_RESTART_COUNT", "0")), store.notes.get(self.key)
        again -= note.waits if note else 0  # others' work says nothing against this job
        if again > self.resources.slurm.requeues and not store.has(self.stage):
            raise JobFailed(
                f"{self.stage.label}: requeued {again} times without finishing; give it more time "
                f"(resources.slurm.{self.sort}.minutes), or raise resources.slurm.requeues"
            )

    def _wait(self, store: Store) -> None:
        """A place in the cluster is not for waiting: somebody else may need it."""
        until = time.monotonic() + self.resources.slurm.patience_s
        while (worker := store.claims.live(self.key)) is not None:
            if time.monotonic() > until:
                store.notes.waited(self.key)
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
