"""`python -m tsr.cancel`: take a sweep's jobs out of SLURM's queue. What is finished stays."""

import argparse
import getpass
import sys
from contextlib import suppress
from pathlib import Path

from tsr.executors.slurm import queue
from tsr.executors.slurm.queue import SlurmError
from tsr.run import guarded
from tsr.status.shares import shares_noted
from tsr.store import Store
from tsr.store.sweeps import SweepFile


def main() -> None:
    """Parse the command line and cancel."""
    parser = argparse.ArgumentParser("tsr.cancel", description=__doc__)
    parser.add_argument(
        "name", nargs="?", default="", help="sweep; the latest one if none is given"
    )
    parser.add_argument("--store", type=Path, default=Path("store"), help="the store's folder")
    args = parser.parse_args()
    sys.exit(guarded(lambda: cancel(Store(args.store), args.name)))


def cancel(store: Store, name: str) -> None:
    """Cancel what no other sweep waits for, and say what was kept. Raises NoSuchSweep."""
    sweep = store.sweeps.get(name)
    jobs = [job for job in queue.queued() if job.of(queue.path_tag(store.root))]
    queued = {job.array for job in jobs}
    others = [s for s in store.sweeps.all() if s.name != sweep.name and _waits(s, queued)]
    kept = {key for other in others for key in other.needed}
    ours = _jobs(store, [key for key in sweep.needed if key not in kept], queued)
    records = sorted(job for job in sweep.records.values() if job in queued)
    shared = _jobs(store, [key for key in sweep.needed if key in kept], queued)
    others_jobs = _jobs(store, list(sweep.needed), queued, mine=False)
    if ours or not others_jobs:  # another user's sweep goes on
        store.sweeps.cancelled(sweep)
    queue.cancel(ours)
    with suppress(SlurmError):  # they may be another user's, who has the same sweep
        queue.cancel(records)
    print(f"{sweep.name}: {len(ours) + len(records)} jobs cancelled")
    if others_jobs:
        print(f"{len(others_jobs)} jobs stay: other users submitted them")
    if shared:
        print(f"{len(shared)} jobs stay: another sweep wants their stages")
    print("what is finished stays; the same command goes on from there")


def _waits(sweep: SweepFile, queued: set[str]) -> bool:
    """Whether a sweep's jobs may be in the queue still: those that write its runs' folders are.

    They have no ids while it is being submitted.
    """
    if sweep.cancelled or sweep.executor != "slurm":
        return False
    return not sweep.records or not queued.isdisjoint(sweep.records.values())


def _jobs(store: Store, keys: list[str], queued: set[str], mine: bool = True) -> list[str]:
    """Ids of this user's jobs, or the others', for these stages that are in the queue still."""
    wholes = [note for key in keys if (note := store.notes.get(key))]
    shares = [note for whole in wholes for _, note in shares_noted(store, whole) if note]
    notes = [n for n in (*wholes, *shares) if (n.user in ("", getpass.getuser())) == mine]
    # Of an array all tasks at once, by its own id.
    ids = {queue.array_of(i) for note in notes for i in (note.job, note.shares_job) if i}
    return sorted(ids & queued)


if __name__ == "__main__":
    main()
