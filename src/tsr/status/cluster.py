"""What SLURM says of a sweep's jobs, asked once a look."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tsr.executors.slurm import queue
from tsr.executors.slurm.queue import Job, SlurmError


@dataclass(frozen=True)
class Cluster:
    """Jobs in the queue and ended ones, by id; an array also by its own. trouble: why it is silent.

    silent: whether not even the queue could be asked.
    """

    queued: Mapping[str, Job]
    ended: Mapping[str, Job]
    trouble: str = ""
    silent: bool = False

    def tasks(self, ids: Collection[str | None]) -> list[Job]:
        """Of these jobs, and of the tasks of these arrays, those that are in the queue."""
        once = [job for name, job in self.queued.items() if name == job.job]
        return [job for job in once if job.job in ids or job.array in ids]


def asked(ids: Collection[str]) -> Cluster:
    """The cluster's word on these jobs."""
    if not ids:
        return Cluster({}, {})
    queued: dict[str, Job] = {}
    try:
        for job in queue.queued():
            queued.setdefault(job.array, job)
            queued[job.job] = job
    except SlurmError as error:
        return Cluster({}, {}, str(error), silent=True)
    try:
        return Cluster(queued, queue.ended(i for i in ids if i not in queued))
    except SlurmError as error:  # no accounting: an ended job is known by its note and its log only
        return Cluster(queued, {}, str(error))
