"""The state of every stage of a sweep."""

import getpass
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tsr.executors.slurm.queue import Job
from tsr.status.cluster import Cluster, asked
from tsr.status.shares import shares_noted
from tsr.status.told import failures_here, last_lines, log_end, progress
from tsr.store import Store
from tsr.store.jobs import Note
from tsr.store.sweeps import SweepFile, Wanted

__all__ = ["ALL", "Cluster", "State", "states_of"]

DONE: Final = "done"
RUNNING: Final = "running"
PENDING: Final = "pending"
FAILED: Final = "failed"
NEVER: Final = "never"
CANCELLED: Final = "cancelled"
MISSING: Final = "missing"
ALL: Final = (DONE, RUNNING, PENDING, FAILED, NEVER, CANCELLED, MISSING)
# What these say of an input, it says of all that needs it.
BAD: Final = (FAILED, NEVER)


@dataclass(frozen=True)
class State:
    """A stage, how it is, and why. log: the end of what its job wrote, where it failed."""

    stage: Wanted
    state: str
    detail: str = ""
    job: str = ""
    log: tuple[str, ...] = ()


def states_of(sweep: SweepFile, store: Store) -> tuple[list[State], Cluster]:
    """Every stage that the sweep needed or that is there, inputs first, and the cluster's word."""
    look = _Look(sweep, store)
    return look.states(), look.cluster


class _Look:
    """One look at a sweep: its notes and the queue are read once."""

    def __init__(self, sweep: SweepFile, store: Store) -> None:
        self.sweep, self.store = sweep, store
        needed = set(sweep.needed)
        self.open = [w for w in sweep.stages if w.key in needed and not store.has(w)]
        on_slurm = sweep.executor == "slurm"
        # What a job of an earlier sweep came to says nothing of a sweep on this machine.
        asked_for = self.open if on_slurm else []
        self.notes = {w.key: note for w in asked_for if (note := store.notes.get(w.key))}
        self.shares = {w.key: list(shares_noted(store, self.notes.get(w.key))) for w in asked_for}
        self.failed_here = {} if on_slurm else failures_here(sweep)
        self.cluster = asked(self._ids())
        self.found: dict[str, State] = {}

    def states(self) -> list[State]:
        """In the sweep's order, inputs first: what failed is known before what needs it."""
        keys = {w.key for w in self.open}
        for wanted in self.sweep.stages:
            if self.store.has(wanted):
                self.found[wanted.key] = State(wanted, DONE)
            elif wanted.key in keys:
                self.found[wanted.key] = self._state(wanted)
        return list(self.found.values())

    def _ids(self) -> set[str]:
        shares = [note for pairs in self.shares.values() for _, note in pairs if note]
        ids = {i for n in self.notes.values() for i in (n.job, n.shares_job) if i}
        return ids | {note.job for note in shares} | set(self.sweep.records.values())

    def _state(self, wanted: Wanted) -> State:
        note = self.notes.get(wanted.key)
        job = note.job if note else ""
        worker = self.store.claims.live(wanted.key)
        if worker is not None:
            return State(wanted, RUNNING, f"{progress(wanted, self.store)} on {worker}", job)
        bad = [self.found[k] for k in wanted.inputs if k in self.found]
        bad = [state for state in bad if state.state in BAD]
        queued = self.cluster.queued.get(job)
        if queued is not None and queued.state != "PENDING":
            return State(wanted, RUNNING, f"{queued.state.lower()} on {queued.node}", job)
        if bad:
            return State(wanted, NEVER, f"its input {bad[0].stage.label} {bad[0].state}", job)
        if note is None:
            return self._unsubmitted(wanted)
        return self._split(wanted, note) or self._alone(wanted, note, queued)

    def _unsubmitted(self, wanted: Wanted) -> State:
        if self.sweep.executor == "slurm":
            return State(wanted, MISSING, "not submitted")
        error, log = self.failed_here.get(wanted.label, ("", None))
        if not error:
            return State(wanted, MISSING, "to do")
        lines = last_lines(log) if log and log.exists() else ()
        return State(wanted, FAILED, error, "", lines)

    def _split(self, wanted: Wanted, note: Note) -> State | None:
        """The state of a stage that waits for its shares; None where it does not."""
        for share, its in self.shares[wanted.key]:
            if its and not self.store.has(share) and self._gone(its):
                state = self._ended(share, its)
                detail = f"{share.label}: {state.detail}"
                return State(wanted, state.state, detail, its.job, state.log)
        tasks = self.cluster.tasks(
            {note.shares_job, *(n.job for _, n in self.shares[wanted.key] if n)}
        )
        if not tasks:
            return None
        there = sum(self.store.has(share) for share, _ in self.shares[wanted.key])
        at_work = sum(task.state != "PENDING" for task in tasks)
        told = f"{there} of {note.shares} shares done"
        if at_work:
            return State(wanted, RUNNING, f"{told}, {at_work} at work", note.shares_job or "")
        return State(wanted, PENDING, f"{told}; {tasks[0].reason}", note.shares_job or "")

    def _alone(self, wanted: Wanted, note: Note, queued: Job | None) -> State:
        if queued is not None:
            return State(wanted, PENDING, queued.reason, note.job)
        return self._ended(wanted, note)

    def _gone(self, note: Note) -> bool:
        return note.job not in self.cluster.queued and not self.cluster.silent

    def _ended(self, wanted: Wanted, note: Note) -> State:
        """Of a job that is no more in the queue, and left no finished stage."""
        job = self.cluster.ended.get(note.job)
        unseen = self._unseen(wanted, note) if job is None and not note.error else None
        if unseen is not None:
            return unseen
        state = job.state.split()[0] if job else ""
        if state == "CANCELLED":
            why = "cancelled" if self.sweep.cancelled else "by SLURM"
            return State(wanted, CANCELLED, why, note.job)
        words = (note.error, f"({state}, exit {job.reason})" if job else "")
        detail = " ".join(filter(None, words)) or "its job is gone"
        log = log_end(Path(note.logs), note.job)
        if not log:
            where = f" from node {job.node}" if job else ""
            detail += f" no log in {note.logs}: can that folder be seen{where}?"
        return State(wanted, FAILED, detail, note.job, log)

    def _unseen(self, wanted: Wanted, note: Note) -> State | None:
        """Of a job that neither queue nor accounting tell of, and that said nothing itself."""
        if self.cluster.silent:
            return State(wanted, PENDING, "submitted; the queue cannot be asked", note.job)
        if self.sweep.cancelled:
            return State(wanted, CANCELLED, "cancelled", note.job)
        if note.user not in ("", getpass.getuser()):
            return State(wanted, PENDING, f"{note.user}'s job, not to be seen from here", note.job)
        return None
