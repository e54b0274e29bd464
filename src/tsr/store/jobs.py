"""Notes of what was given to a cluster: which job is to make which stage, and how it ended.

Notes help to watch and to cancel. What is finished is told by the stages themselves, and what is
queued by the cluster: a note may be old, or missing.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from tsr.store.errors import writing
from tsr.store.files import write_json
from tsr.store.layout import SHORT, Layout


@dataclass(frozen=True)
class Note:
    """A stage's latest job.

    job: its id; the array's where the stage is split. shares: in how many it is split, shares_job
    their array. logs: the folder with what the jobs wrote. error: how the last try failed. waits:
    how often the job was requeued only since somebody else was at its stage.
    """

    key: str
    label: str
    job: str
    logs: str
    shares: int = 0
    shares_job: str | None = None
    user: str = ""
    submitted: str = ""
    error: str | None = None
    waits: int = 0


@dataclass(frozen=True)
class Notes:
    """The notes of a store, a file each."""

    layout: Layout

    def get(self, key: str) -> Note | None:
        """The note on a key, if there is one that can be read."""
        try:
            data = json.loads(self._path(key).read_text())
        except (FileNotFoundError, ValueError):
            return None
        known = {f.name for f in dataclasses.fields(Note)}
        return Note(**{name: value for name, value in data.items() if name in known})

    def put(self, note: Note) -> None:
        """Write a note, instead of the one before."""
        with writing(self.layout.root):
            self.layout.jobs.mkdir(parents=True, exist_ok=True)
            write_json(self._path(note.key), dataclasses.asdict(note))

    def failed(self, key: str, error: str) -> None:
        """Add to the note how its job failed."""
        note = self.get(key)
        if note is not None:
            self.put(dataclasses.replace(note, error=error))

    def waited(self, key: str) -> None:
        """Add to the note that its job gives its place back, somebody else being at the stage."""
        note = self.get(key)
        if note is not None:
            self.put(dataclasses.replace(note, waits=note.waits + 1))

    def _path(self, key: str) -> Path:
        return self.layout.jobs / f"{key[:SHORT]}.json"
