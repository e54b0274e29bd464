"""The state of every stage of a sweep."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tsr.executors.slurm import queue
from tsr.executors.slurm.queue import Job, SlurmError
from tsr.progress import PROGRESS
from tsr.stage import key_of
from tsr.store import Store
from tsr.store.jobs import Note
from tsr.store.sweeps import SweepFile, Wanted

DONE: Final = "done"
RUNNING: Final = "running"
PENDING: Final = "pending"
FAILED: Final = "failed"
NEVER: Final = "never"
CANCELLED: Final = "cancelled"
MISSING: Final = "missing"
ALL: Final = (DONE, RUNNING, PENDING, FAILED, NEVER, CANCELLED, MISSING)
LOG_LINES: Final = 5


@dataclass(frozen=True)
class State:
    """A stage, how it is, and why. log: the end of what its job wrote, where it failed."""

    stage: Wanted
    state: str
    detail: str = ""
    job: str = ""
    log: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cluster:
    """What SLURM says: jobs in the queue and ended ones, by id. trouble: why it says nothing."""

    queued: Mapping[str, Job]
    ended: Mapping[str, Job]
    trouble: str = ""


def states_of(sweep: SweepFile, store: Store) -> tuple[list[State], Cluster]:
    """Every stage that the sweep needed or that is there, inputs first, and the cluster's word."""
    open_ones = [w for w in sweep.stages if w.key in set(sweep.needed) and not store.has(w)]
    notes = {w.key: note for w in open_ones if (note := store.notes.get(w.key))}
    cluster = _cluster(notes) if sweep.executor == "slurm" else Cluster({}, {})
    found: dict[str, State] = {}
    for wanted in sweep.stages:
        if store.has(wanted):
            found[wanted.key] = State(wanted, DONE)
        elif wanted.key in notes or wanted in open_ones:
            found[wanted.key] = _state(wanted, sweep, store, notes.get(wanted.key), cluster, found)
    return list(found.values()), cluster


def _cluster(notes: Mapping[str, Note]) -> Cluster:
    ids = [i for note in notes.values() for i in (note.job, note.shares_job) if i]
    if not ids:
        return Cluster({}, {})
    try:
        queued: dict[str, Job] = {}
        for job in queue.queued():
            queued.setdefault(job.array, job)
            queued[job.job] = job
    except SlurmError as error:
        return Cluster({}, {}, str(error))
    try:
        return Cluster(queued, queue.ended(i for i in ids if i not in queued))
    except SlurmError as error:  # no accounting: an ended job is known by its note and its log only
        return Cluster(queued, {}, str(error))


def _state(
    wanted: Wanted,
    sweep: SweepFile,
    store: Store,
    note: Note | None,
    cluster: Cluster,
    before: Mapping[str, State],
) -> State:
    job = note.job if note else ""
    worker = store.claims.live(wanted.key)
    if worker is not None:
        return State(wanted, RUNNING, f"{_progress(wanted, store)} on {worker}", job)
    bad = [before[k] for k in wanted.inputs if k in before and before[k].state in (FAILED, NEVER)]
    queued = cluster.queued.get(job)
    if queued is not None and queued.state != "PENDING":
        return State(wanted, RUNNING, f"{queued.state.lower()} on {queued.node}", job)
    if bad:
        return State(wanted, NEVER, f"its input {bad[0].stage.label} {bad[0].state}", job)
    if queued is not None:
        return State(wanted, PENDING, _why(queued, note, cluster, store, wanted), job)
    if note is None:
        return State(wanted, MISSING, "not submitted" if sweep.executor == "slurm" else "to do")
    return _ended(wanted, sweep, note, cluster.ended.get(job))


def _why(job: Job, note: Note | None, cluster: Cluster, store: Store, wanted: Wanted) -> str:
    """SLURM's reason; for a stage whose shares are under way, how many are there."""
    if note is None or note.shares_job not in cluster.queued:
        return job.reason
    return f"{_shares_done(store, wanted, note)} of {note.shares} shares done"


def _shares_done(store: Store, wanted: Wanted, note: Note) -> int:
    return sum(store.has(share) for share in _shares(wanted, note.shares))


def _shares(wanted: Wanted, of: int) -> Iterator[Wanted]:
    """The shares of a stage, known by their recipes alone; see tsr.stages.share."""
    for index in range(of):
        recipe = {"kind": "share", "version": 1, "whole": {"stage": wanted.key}}
        yield Wanted(key_of(recipe | {"index": index, "of": of}), "share", "share", 1)


def _ended(wanted: Wanted, sweep: SweepFile, note: Note, job: Job | None) -> State:
    """Of a job that is no more in the queue, and left no finished stage."""
    state = job.state.split()[0] if job else ""
    if state == "CANCELLED":
        return State(wanted, CANCELLED, "cancelled" if sweep.cancelled else "by SLURM", note.job)
    detail = " ".join(filter(None, (note.error, f"({state}, exit {job.reason})" if job else "")))
    log = log_end(Path(note.logs))
    if not log:
        where = f" from node {job.node}" if job else ""
        detail += f" no log in {note.logs}: can that folder be seen{where}?"
    return State(wanted, FAILED, detail.strip() or "its job is gone", note.job, tuple(log))


def log_end(folder: Path) -> list[str]:
    """The last lines of the newest log in a job's folder."""
    logs = sorted(folder.glob("*_log.out"), key=lambda path: path.stat().st_mtime)
    if not logs:
        return []
    lines = logs[-1].read_text(errors="replace").splitlines()
    return [line for line in lines if line.strip()][-LOG_LINES:]


def _progress(wanted: Wanted, store: Store) -> str:
    """How far and how fast, as the worker noted it."""
    for part in store.leftovers(wanted):
        try:
            return _said(json.loads((part / PROGRESS).read_text()))
        except (FileNotFoundError, ValueError):
            continue
    return "at work"


def _said(told: Mapping[str, Any]) -> str:
    made, seconds = told["done"] - told["begun"], told["seconds"]
    text = f"{told['done']}/{told['total']}"
    if not made or not seconds:
        return text
    left = (told["total"] - told["done"]) * seconds / made
    return f"{text}, {made / seconds:.2g}/s, {left:.0f} s left"
