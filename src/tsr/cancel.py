"""`python -m tsr.cancel`: take a sweep's jobs out of SLURM's queue. What is finished stays."""

import argparse
import dataclasses
import sys
from pathlib import Path

from tsr.executors.slurm import queue
from tsr.run import guarded
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
    others = [s for s in store.sweeps.all() if s.name != sweep.name and not s.cancelled]
    kept = {key for other in others for key in other.needed}
    ours = _jobs(store, sweep, [key for key in sweep.needed if key not in kept])
    shared = _jobs(store, sweep, [key for key in sweep.needed if key in kept], records=False)
    store.sweeps.put(dataclasses.replace(sweep, cancelled=True))
    queue.cancel(ours)
    print(f"{sweep.name}: {len(ours)} jobs cancelled")
    if shared:
        print(f"{len(shared)} jobs stay: another sweep wants their stages")
    print("what is finished stays; the same command goes on from there")


def _jobs(store: Store, sweep: SweepFile, keys: list[str], records: bool = True) -> list[str]:
    """Ids of the jobs for these stages that are in the queue still."""
    notes = [note for key in keys if (note := store.notes.get(key))]
    ids = {i for note in notes for i in (note.job, note.shares_job) if i}
    ids |= set(sweep.records.values()) if records else set()
    return sorted({job.array for job in queue.queued() if job.array in ids})


if __name__ == "__main__":
    main()
