"""Looking through a store: what lies in it, and in which state."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from tsr.store.claim import Claims
from tsr.store.describe import read_stage
from tsr.store.errors import NoSuchKey
from tsr.store.files import size_of
from tsr.store.layout import DONE, RECORD, SHORT, Layout, split_part
from tsr.store.manifest import bytes_in, read_manifest


@dataclass(frozen=True)
class Entry:
    """A stage's folder. Everything but its name and state is read when it is asked for.

    state: `done`, `running`, `partial`, or `broken` (in the place of a stage, but never finished).
    """

    kind: str
    short: str
    folder: Path
    state: str

    @cached_property
    def about(self) -> dict[str, Any]:
        """stage.yaml."""
        return read_stage(self.folder)

    @cached_property
    def record(self) -> dict[str, Any]:
        """record.json; empty for a stage that is not done, or when it is unreadable."""
        try:
            return dict(json.loads((self.folder / RECORD).read_text()))
        except (FileNotFoundError, ValueError):
            return {}

    @cached_property
    def bytes(self) -> int:
        """The size of its files: by the manifest when done, else as they are now."""
        if self.state != "done":
            return size_of(self.folder)
        try:
            return bytes_in(read_manifest(self.folder))
        except ValueError:
            return size_of(self.folder)

    @property
    def when(self) -> str:
        """When it was finished, or last touched (UTC)."""
        touched = datetime.fromtimestamp(self.folder.stat().st_mtime, UTC)
        return str(self.record.get("finished") or touched.isoformat(timespec="seconds"))


def entries(layout: Layout, claims: Claims, kind: str | None = None) -> Iterator[Entry]:
    """Every stage's folder, one after another as the filesystem gives them."""
    for name in [kind] if kind else layout.kinds():
        for folder in layout.names(name):
            entry = _entry(layout, claims, name, folder)
            if entry:
                yield entry


def find(found: Iterable[Entry], prefix: str) -> list[Entry]:
    """The folders of the one stage whose key begins with `prefix`, the finished one first."""
    hits = [e for e in found if e.short.startswith(prefix[:SHORT]) and prefix]
    names = sorted({f"{e.kind} {e.short}" for e in hits})
    if not hits:
        raise NoSuchKey(f"no stage has a key that begins with {prefix!r}; `ls` lists them")
    if len(names) > 1:
        raise NoSuchKey(f"{prefix!r} may be any of: {', '.join(names)}")
    return sorted(hits, key=lambda e: e.state != "done")


def _entry(layout: Layout, claims: Claims, kind: str, name: str) -> Entry | None:
    folder = layout.shelf(kind) / name
    names = split_part(name)
    if names:
        worker = claims.live(names[0])
        running = worker is not None and worker.id == names[1]
        return Entry(kind, names[0], folder, "running" if running else "partial")
    if name.startswith("."):
        return None
    return Entry(kind, name, folder, "done" if (folder / DONE).exists() else "broken")
