"""What a sweep wants, kept in the store so that anybody can look how far it is."""

import dataclasses
import hashlib
import json
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

    def path(self, name: str) -> Path:
        """A sweep's file."""
        return self.layout.sweeps / f"{name}.json"

    def names(self) -> list[str]:
        """All sweeps, the one that was started last coming last."""
        files = self.layout.sweeps.glob("*.json") if self.layout.sweeps.is_dir() else ()
        return [p.stem for p in sorted(files, key=lambda p: (p.stat().st_mtime_ns, p.name))]

    def all(self) -> list[SweepFile]:
        """Every sweep that can be read, the latest last."""
        return [self.get(name) for name in self.names()]

    def get(self, name: str) -> SweepFile:
        """A sweep by its name, or by the beginning of it. Raises NoSuchSweep."""
        found = [n for n in self.names() if n.startswith(name)] if name else self.names()[-1:]
        exact = [n for n in found if n == name] or found
        if len(exact) != 1:
            known = ", ".join(self.names()) or "none"
            raise NoSuchSweep(
                f"no sweep, or several, called {name!r} in {self.layout.root}: {known}"
            )
        return _parsed(json.loads(self.path(exact[0]).read_text()))


def _parsed(data: dict[str, Any]) -> SweepFile:
    stages = tuple(Wanted(**{**s, "inputs": tuple(s["inputs"])}) for s in data.pop("stages"))
    needed = tuple(data.pop("needed"))
    return SweepFile(**data, stages=stages, needed=needed)
