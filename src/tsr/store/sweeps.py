"""What a sweep wants, kept in the store so that anybody can look how far it is."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tsr.store.errors import NoSuchSweep, writing
from tsr.store.files import write_json
from tsr.store.layout import Layout


@dataclass(frozen=True)
class Wanted:
    """A stage that a sweep wants. inputs: keys of what must be there before it can be made."""

    key: str
    kind: str
    label: str
    count: int
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class SweepFile:
    """A sweep: its stages, inputs first, and which run wants which of them.

    records: the job that writes a run's folder, by the run's name. executor: local or slurm.
    needed: keys of the stages that were missing when it was started, or went before a missing one.
    """

    name: str
    started: str
    executor: str
    stages: tuple[Wanted, ...]
    runs: dict[str, list[str]]
    folders: dict[str, str] = field(default_factory=dict)
    needed: tuple[str, ...] = ()
    records: dict[str, str] = field(default_factory=dict)
    cancelled: bool = False


def sweep_name(runs: Mapping[str, Sequence[str]]) -> str:
    """The same for the same runs: a hash of what they want. runs: goals' keys by run name."""
    text = json.dumps({name: list(keys) for name, keys in runs.items()}, sort_keys=True)
    return f"{len(runs)}runs-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def now() -> str:
    """The time, for people (UTC)."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Sweeps:
    """The sweeps of a store."""

    layout: Layout

    def put(self, sweep: SweepFile) -> None:
        """Write, or overwrite, a sweep."""
        with writing(self.layout.root):
            self.layout.sweeps.mkdir(parents=True, exist_ok=True)
            write_json(self.path(sweep.name), dataclasses.asdict(sweep))

    def cancelled(self, sweep: SweepFile) -> None:
        """Mark a sweep as cancelled; it keeps its place among those that were started."""
        before = self.path(sweep.name).stat()
        self.put(dataclasses.replace(sweep, cancelled=True))
        os.utime(self.path(sweep.name), ns=(before.st_atime_ns, before.st_mtime_ns))

    def path(self, name: str) -> Path:
        """A sweep's file."""
        return self.layout.sweeps / f"{name}.json"

    def names(self) -> list[str]:
        """All sweeps, the one that was started last coming last."""
        files = self.layout.sweeps.glob("*.json") if self.layout.sweeps.is_dir() else ()
        return [p.stem for p in sorted(files, key=lambda p: (p.stat().st_mtime_ns, p.name))]

    def all(self) -> list[SweepFile]:
        """Every sweep that can be read, the latest last."""
        return [sweep for name in self.names() if (sweep := self._read(name))]

    def _read(self, name: str) -> SweepFile | None:
        try:
            return _parsed(json.loads(self.path(name).read_text()))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def get(self, name: str) -> SweepFile:
        """A sweep by its name, or by the beginning of it. Raises NoSuchSweep."""
        found = [n for n in self.names() if n.startswith(name)] if name else self.names()[-1:]
        exact = [n for n in found if n == name] or found
        if len(exact) != 1:
            known = ", ".join(self.names()) or "none"
            raise NoSuchSweep(
                f"no sweep, or several, called {name!r} in {self.layout.root}: {known}"
            )
        found_one = self._read(exact[0])
        if found_one is None:
            raise NoSuchSweep(
                f"{self.path(exact[0])} is unreadable; the same command writes it anew"
            )
        return found_one


def _parsed(data: dict[str, Any]) -> SweepFile:
    stages = tuple(Wanted(**{**s, "inputs": tuple(s["inputs"])}) for s in data.pop("stages"))
    needed = tuple(data.pop("needed"))
    known = {f.name for f in dataclasses.fields(SweepFile)}
    rest = {name: value for name, value in data.items() if name in known}
    return SweepFile(**rest, stages=stages, needed=needed)
