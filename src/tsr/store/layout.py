"""Where things lie in a store."""

import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tsr.store.errors import StoreError, StoreTooNew, writing
from tsr.store.files import write_json

FORMAT: Final = 1
SHORT: Final = 20  # hex digits of a key in a folder's name: 80 bits, unique for every real store
DONE: Final = "DONE"
STAGE: Final = "stage.yaml"
RECORD: Final = "record.json"
MANIFEST: Final = "manifest.json"
RESERVED: Final = (DONE, STAGE, RECORD, MANIFEST)
_PART: Final = ".part-"


@dataclass(frozen=True)
class Layout:
    """The paths of a store, and the few moves that concern the store as a whole."""

    root: Path

    @property
    def claims(self) -> Path:
        """A folder for each claim."""
        return self.root / "claims"

    @property
    def trash(self) -> Path:
        """What was moved aside, until gc."""
        return self.root / "trash"

    @property
    def roots(self) -> Path:
        """A file for each run, naming what it needs."""
        return self.root / "roots"

    @property
    def jobs(self) -> Path:
        """A file for each stage that was given to a cluster."""
        return self.root / "jobs"

    @property
    def sweeps(self) -> Path:
        """A file for each sweep."""
        return self.root / "sweeps"

    def timings(self, kind: str) -> Path:
        """How long the stages of a kind took, a line each."""
        return self.root / "timings" / f"{kind}.jsonl"

    def shelf(self, kind: str) -> Path:
        """The folder of all stages of a kind."""
        return self.root / "stages" / kind

    def kinds(self) -> list[str]:
        """The kinds that have a shelf."""
        stages = self.root / "stages"
        return sorted(p.name for p in stages.iterdir()) if stages.is_dir() else []

    def target(self, kind: str, key: str) -> Path:
        """Where a finished stage lies."""
        return self.shelf(kind) / key[:SHORT]

    def part(self, kind: str, key: str, claim: str) -> Path:
        """Where the holder of a claim works on a stage."""
        return self.shelf(kind) / f".{key[:SHORT]}{_PART}{claim}"

    def parts(self, kind: str, key: str) -> list[Path]:
        """The unfinished folders of a stage."""
        start = f".{key[:SHORT]}{_PART}"
        return [self.shelf(kind) / name for name in self.names(kind) if name.startswith(start)]

    def names(self, kind: str) -> Iterator[str]:
        """The names on a shelf, as they come."""
        if self.shelf(kind).is_dir():
            with os.scandir(self.shelf(kind)) as entries:
                yield from (entry.name for entry in entries)

    def discard(self, path: Path) -> Path:
        """Move `path` to the trash at once, so that nobody sees it half deleted."""
        place = self.trash / f"{path.name.lstrip('.')}-{uuid.uuid4().hex[:8]}"
        self.trash.mkdir(exist_ok=True)
        return path.rename(place)

    def check_format(self) -> None:
        """Refuse a store that a later tsr laid out."""
        path = self.root / "STORE.json"
        if not path.exists():
            return
        try:
            found = json.loads(path.read_text())["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f'{path} is unreadable; it should hold {{"format": {FORMAT}}}'
            ) from error
        if found > FORMAT:
            raise StoreTooNew(
                f"the store {self.root} has format {found}; this tsr reads format {FORMAT} and "
                "older: upgrade tsr (pip install -U tsr)"
            )

    def prepare(self) -> None:
        """Make the store, or its missing folders, before the first write."""
        with writing(self.root):
            for name in ("stages", "claims", "trash", "roots", "timings"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
            if not (self.root / "STORE.json").exists():
                write_json(self.root / "STORE.json", {"format": FORMAT})


def split_part(name: str) -> tuple[str, str] | None:
    """(short key, claim id) of an unfinished folder's name; None for any other name."""
    short, found, claim = name.removeprefix(".").partition(_PART)
    return (short, claim) if found and name.startswith(".") else None
