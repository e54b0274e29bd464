"""What of a store is in SLURM's queue already, and may be relied on."""

import getpass
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

from tsr.executors.slurm import queue
from tsr.executors.slurm.queue import Job, SlurmError, array_of, name_of
from tsr.stage import Stage
from tsr.stages.share import Share, shares_of
from tsr.store import Store
from tsr.store.jobs import Note

# How long jobs that are completing are waited for: they end, or are back in the queue.
LEAVING_S: Final = 15


class Queued:
    """The jobs of a store in the queue as they were when asked, less what was cancelled since."""

    def __init__(self, store: Store, tag: str) -> None:
        self.store, self.tag = store, tag
        self._named: dict[str, list[Job]] = defaultdict(list)
        for job in _settled(tag):
            if job.useful:
                self._named[job.name].append(job)

    def named(self, name: str) -> Job | None:
        """A job of that name; no two have the same, but the tasks of an array."""
        return next(iter(self._named.get(name, ())), None)

    def job(self, stage: Stage) -> Job | None:
        """The job that will make a stage. One that cannot is cancelled.

        It cannot where its submission was killed in its midst: a job is noted once all that it
        needs is on the disk. Nor where one of its shares failed, though SLURM says so only when
        the others have ended.
        """
        alive, note = self.named(name_of(stage, self.tag)), self.store.notes.get(stage.key)
        if alive is None or not _ours(note):
            return alive
        torn = note is None or array_of(note.job) != alive.array
        split = shares_of(stage, note.shares) if note else ()
        if torn or (alive.state == "PENDING" and self.lost(split)):
            self._cancel([name_of(stage, self.tag)])
            return None
        return alive

    def task(self, share: Share) -> str | None:
        """The array's task that will make a share."""
        note = self.store.notes.get(share.key)
        tasks = self._named.get(shares_name(share.whole, self.tag), ())
        return note.job if note and any(task.job == note.job for task in tasks) else None

    def lost(self, shares: Sequence[Share]) -> list[Share]:
        """Shares that are not there, and that nobody will make."""
        return [s for s in shares if not self.store.has(s) and self.task(s) is None]

    def drop(self, stage: Stage) -> None:
        """Cancel what is to make a stage, its shares included."""
        self._cancel([name_of(stage, self.tag), shares_name(stage, self.tag)])

    def drop_strays(self, stage: Stage, shares: Sequence[Share]) -> None:
        """Cancel tasks for none of these shares: of another split, or of a torn submission."""
        notes = [note for share in shares if (note := self.store.notes.get(share.key))]
        if not all(map(_ours, notes)):
            return  # another user's tasks may be hidden from us, and ours noted no more
        name, known = shares_name(stage, self.tag), {note.job for note in notes}
        tasks = self._named.pop(name, [])
        self._named[name] = [task for task in tasks if task.job in known]
        cancel(task.job for task in tasks if task.job not in known)

    def _cancel(self, names: Iterable[str]) -> None:
        cancel(dict.fromkeys(job.array for name in names for job in self._named.pop(name, ())))


def cancel(jobs: Iterable[str]) -> None:
    """Cancel jobs that are of no use; another user's SLURM itself removes."""
    with suppress(SlurmError):
        queue.cancel(list(jobs))


def shares_name(stage: Stage, tag: str) -> str:
    """The name of the array that makes a stage's shares."""
    return name_of(stage, tag).replace("-", "_shares-", 1)


def _ours(note: Note | None) -> bool:
    """Not another user's, whose job may be hidden from us while the note tells of it alone."""
    return note is None or note.user in ("", getpass.getuser())


def _settled(tag: str) -> list[Job]:
    """What is in the queue, once no job of the store's is on its way out of it, or back."""
    for _ in range(LEAVING_S):
        found = queue.queued()
        if not any(job.state == "COMPLETING" and job.name.endswith(tag) for job in found):
            break
        time.sleep(1)
    return found
