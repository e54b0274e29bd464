"""The store: every finished stage under its key, made once, whoever asks for it."""

import json
import logging
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tsr.store import entries as listing
from tsr.store.claim import Claim, Claims
from tsr.store.describe import Item, Named, make_record, write_stage
from tsr.store.entries import Entry
from tsr.store.errors import (
    Busy,
    Damaged,
    LostClaim,
    Missing,
    StoreFull,
    filling,
    full_message,
    writing,
)
from tsr.store.files import append_line, last_lines, write_json
from tsr.store.jobs import Notes
from tsr.store.layout import DONE, RECORD, SHORT, Layout
from tsr.store.manifest import faults
from tsr.store.part import begin
from tsr.store.publish import publish
from tsr.store.sweeps import Sweeps

log = logging.getLogger("tsr.store")
CHECKS: Final = ("hash", "size")
Make = Callable[[Path], dict[str, Any]]


@dataclass(frozen=True)
class Made:
    """A finished stage: where it is, whether this call did the work, and its record."""

    folder: Path
    executed: bool
    record: dict[str, Any]


class Store:
    """A folder of finished stages that any number of processes and machines use at the same time.

    check: `hash` verifies a stage's files the first time this process opens it; `size` only sizes.
    stale_after_s: a worker that gives no sign of life for so long has its work taken over.
    poll_s: how often to look again while another worker is at a stage.
    revision: of the source code, kept in the records.
    """

    def __init__(
        self,
        root: Path,
        *,
        check: str = "hash",
        stale_after_s: float = 60.0,
        poll_s: float = 0.5,
        revision: str | None = None,
    ) -> None:
        if check not in CHECKS:
            raise ValueError(f"check={check!r}: must be one of {', '.join(CHECKS)}")
        self.root = Path(root)
        self.check = check
        self.poll_s = poll_s
        self.revision = revision
        self.layout = Layout(self.root)
        self.claims = Claims(self.layout.claims, stale_after_s)
        self.notes = Notes(self.layout)
        self.sweeps = Sweeps(self.layout)
        self._verified: dict[Path, tuple[int, int]] = {}
        self.layout.check_format()

    def has(self, item: Named) -> bool:
        """Whether the stage is published. One stat."""
        return (self.layout.target(item.kind, item.key) / DONE).exists()

    def state(self, item: Item) -> str:
        """`done`, `running` (somebody is at it), `partial` (left unfinished) or `missing`."""
        if self.has(item):
            return "done"
        if self.claims.live(item.key):
            return "running"
        return "partial" if self.leftovers(item) else "missing"

    def leftovers(self, item: Named) -> list[Path]:
        """The unfinished folders of a stage: blocks to resume from, logs."""
        return self.layout.parts(item.kind, item.key)

    def folder(self, item: Named) -> Path:
        """The published folder, every file checked. Raises Missing or Damaged."""
        folder = self.layout.target(item.kind, item.key)
        if not self.has(item):
            raise Missing(f"{item.label} is not in the store {self.root}")
        mark = _mark(folder)
        if self._verified.get(folder) != mark:
            self._verify(item, folder)
            self._verified[folder] = mark
        return folder

    def record(self, item: Item) -> dict[str, Any]:
        """What is known of how the stage was made."""
        if not self.has(item):
            raise Missing(f"{item.label} is not in the store {self.root}")
        path = self.layout.target(item.kind, item.key) / RECORD
        try:
            return dict(json.loads(path.read_text()))
        except (FileNotFoundError, ValueError) as error:
            raise Damaged(self._damage(item, path, "missing or unreadable")) from error

    def ensure(self, item: Item, make: Make) -> Made:
        """The stage, made by `make(folder)` if nobody has made it yet.

        `make` writes the artifact into the folder it is given, which may hold what an earlier,
        killed attempt left there, and returns figures for the record. If it raises, its folder is
        kept for the next attempt. While another worker is at the stage, this waits for it.
        """
        told: str | None = None
        while not self.has(item):
            claim = self._claim(item)
            if claim is None:
                told = self._wait(item, told)
                continue
            try:
                with claim:
                    # It may have been published between our look and our claim.
                    return self._found(item) if self.has(item) else self._work(item, make, claim)
            except LostClaim:
                if not self.has(item):
                    raise
                # What it wrote after its folder was moved away: of use to nobody.
                stray = self.layout.part(item.kind, item.key, claim.owner.id)
                shutil.rmtree(stray, ignore_errors=True)
        return self._found(item)

    def redo(self, key_prefix: str) -> list[Path]:
        """Move a stage, and what is unfinished of it, to the trash: the next run makes it anew.

        Stages made from it stay valid: their keys are the same. Returns where things went.
        """
        stage = self.find(key_prefix)[0]
        self.layout.prepare()
        label = f"{stage.kind} {stage.short[:8]}"
        with writing(self.root), self.exclusive(stage.short, label):
            target = self.layout.target(stage.kind, stage.short)
            paths = [target, *self.layout.parts(stage.kind, stage.short)]
            return [self.layout.discard(path) for path in paths if path.exists()]

    def remove(self, key_prefix: str) -> None:
        """`redo`, and delete at once what it moved aside."""
        for path in self.redo(key_prefix):
            shutil.rmtree(path)

    def drop(self, item: Named) -> None:
        """Delete a finished stage, if it is there. Raises Busy while somebody works on it."""
        with writing(self.root), self.exclusive(item.key, item.label):
            target = self.layout.target(item.kind, item.key)
            if target.exists():
                shutil.rmtree(self.layout.discard(target))

    def forget(self, name: str) -> None:
        """No longer keep what `keep` was called for under this name."""
        (self.layout.roots / f"{name}.json").unlink(missing_ok=True)

    def keep(self, name: str, keys: Iterable[str], run: Path | str = "") -> None:
        """Let gc keep these stages, and what they were made from, for the run called `name`."""
        path = self.layout.roots / f"{name}.json"
        kept = {"run": str(run), "keys": sorted(set(keys))}
        if path.exists() and json.loads(path.read_text()) == kept:
            return  # a finished run can be looked at again in a store that is read-only
        self.layout.prepare()
        with writing(self.root):
            write_json(path, kept)

    def entries(self, kind: str | None = None) -> Iterator[Entry]:
        """Every folder of the store, finished or not, as they come."""
        return listing.entries(self.layout, self.claims, kind)

    def find(self, key_prefix: str) -> list[Entry]:
        """The folders of the stage whose key begins like this. Raises NoSuchKey."""
        return listing.find(self.entries(), key_prefix)

    def timings(self, kind: str) -> list[dict[str, Any]]:
        """What the latest finished stages of a kind took here, or if none ran here, elsewhere."""
        lines = list(last_lines(self.layout.timings(kind)))
        here = socket.gethostname()
        return [line for line in lines if line.get("host") == here] or lines

    def full(self, reason: str) -> StoreFull:
        """The error for a full disk that somebody else met while filling a stage's folder."""
        return StoreFull(full_message(self.root, reason))

    def exclusive(self, key: str, label: str) -> Claim:
        """A claim on a stage that is to be moved, not made. Raises Busy while it is worked on."""
        with writing(self.root):
            claim = self.claims.take(key, label)
        if claim is None:
            raise Busy(f"{label} is being worked on by {self.claims.live(key)}")
        return claim

    def _claim(self, item: Item) -> Claim | None:
        self.layout.prepare()
        with writing(self.root):
            return self.claims.take(item.key, item.label)

    def _wait(self, item: Item, told: str | None) -> str | None:
        worker = self.claims.live(item.key)
        if worker and worker.id != told:
            log.info("waiting for %s: %s is working on it", item.label, worker)
        time.sleep(self.poll_s)
        return worker.id if worker else told

    def _work(self, item: Item, make: Make, claim: Claim) -> Made:
        with writing(self.root):
            part, resumed = begin(self.layout, self.claims, item.kind, claim)
        with filling(self.root, part):
            write_stage(part, item)
            start = time.monotonic()
            figures = make(part)
            seconds = time.monotonic() - start
            record = make_record(item, figures, seconds, resumed=resumed, revision=self.revision)
            if not publish(self.layout, item, part, claim, record):
                return self._found(item)
        self._note_timing(item, record)
        folder = self.layout.target(item.kind, item.key)
        self._verified[folder] = _mark(folder)  # it was hashed just now
        return Made(folder, True, record)

    def _found(self, item: Item) -> Made:
        return Made(self.folder(item), False, self.record(item))

    def _note_timing(self, item: Item, record: dict[str, Any]) -> None:
        line = {name: record[name] for name in ("kind", "key", "seconds", "host", "resumed")}
        line |= {name: record["figures"].get(name) for name in ("units", "tag")}
        try:
            append_line(self.layout.timings(item.kind), line)
        except OSError as error:  # the stage is published; only an estimate suffers
            log.warning("could not note how long %s took: %s", item.label, error)

    def _verify(self, item: Named, folder: Path) -> None:
        for name, fault in faults(folder, by_hash=self.check == "hash"):
            raise Damaged(self._damage(item, folder / name, fault))

    def _damage(self, item: Named, path: Path, fault: str) -> str:
        return (
            f"{item.label} is damaged: {path}: {fault}. To make it anew, "
            f"`python -m tsr.store redo {item.key[:SHORT]} --store {self.root}`, then run again"
        )


def _mark(folder: Path) -> tuple[int, int]:
    # Tells a stage that was redone from the one that was verified.
    stat = (folder / DONE).stat()
    return stat.st_ino, stat.st_mtime_ns
