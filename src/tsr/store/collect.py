"""Garbage: what no run needs. Runs name what they need in `roots/`; inputs follow from there."""

import json
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tsr.store.entries import Entry
from tsr.store.errors import StoreError, writing
from tsr.store.files import size_of
from tsr.store.layout import SHORT
from tsr.store.store import Store

# A worker that found a dead claim may be slow to act on it; until then its grave must stay.
_GRAVE_S: Final = 3600.0


@dataclass(frozen=True)
class Waste:
    """Something that can go: where, how big, why, and the short key whose claim guards it."""

    path: Path
    bytes: int
    why: str
    guard: str = ""


def waste(store: Store, older_than_s: float = 0.0) -> Iterator[Waste]:
    """All that no run needs and that has not been touched for so long."""
    for path, why, guard in _candidates(store):
        if older_than_s <= 0 or _age_s(path) > older_than_s:
            yield Waste(path, size_of(path), why, guard)


def sweep(store: Store, item: Waste) -> bool:
    """Delete one of them. False when somebody began to work on it meanwhile."""
    with writing(store.root):
        if not item.guard:
            shutil.rmtree(item.path)
            return True
        claim = store.claims.take(item.guard, "gc")
        if claim is None:
            return False
        with claim:
            # A dead claim is gone already: ours took its place, and ends here.
            if item.path.parent != store.claims.folder and item.path.exists():
                shutil.rmtree(store.layout.discard(item.path))
        return True


def needed(store: Store, found: dict[str, list[Entry]]) -> set[str]:
    """Short keys of what the runs and the living workers need, inputs included."""
    todo = [*_root_keys(store), *(s for s, es in found.items() if store.claims.live(s) and es)]
    seen: set[str] = set()
    while todo:
        short = todo.pop()[:SHORT]
        if short not in seen:
            seen.add(short)
            todo += [key for entry in found.get(short, ()) for key in _inputs(entry)]
    return seen


def _candidates(store: Store) -> Iterator[tuple[Path, str, str]]:
    found: dict[str, list[Entry]] = defaultdict(list)
    for entry in store.entries():
        found[entry.short].append(entry)
    keep = needed(store, found)
    for short, folders in found.items():
        if not store.claims.live(short):
            for entry in folders:
                why = _why(entry, short in keep, any(e.state == "done" for e in folders))
                if why:
                    yield entry.folder, why, short
    yield from _claims(store)
    for path in _children(store.layout.trash):
        yield path, "in the trash", ""


def _why(entry: Entry, kept: bool, finished: bool) -> str:
    if entry.state == "broken":
        return "never finished"
    if entry.state == "done":
        return "" if kept else "no run needs it"
    if finished:
        return "left over from finished work"
    # Work that a run still needs is kept: the next attempt goes on from there.
    return "" if kept else "unfinished, and no run needs it"


def _claims(store: Store) -> Iterator[tuple[Path, str, str]]:
    for path in _children(store.claims.folder):
        if not path.name.startswith("."):
            if not store.claims.live(path.name):
                yield path, "claim of a dead worker", path.name
        elif _age_s(path) > _GRAVE_S:
            yield path, "ended claim", ""


def _root_keys(store: Store) -> list[str]:
    keys: list[str] = []
    for path in _children(store.layout.roots):
        if path.suffix == ".json" and not path.name.startswith("."):
            try:
                keys += json.loads(path.read_text())["keys"]
            except (ValueError, KeyError, TypeError) as error:
                raise StoreError(
                    f"{path} is unreadable, so what its run needs is unknown"
                ) from error
    return keys


def _inputs(entry: Entry) -> list[str]:
    try:
        return [one["key"] for one in entry.about["inputs"]]
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        if entry.state != "done":
            return []
        raise StoreError(
            f"{entry.folder} has no readable stage.yaml, so what it was made from is unknown; "
            f"`python -m tsr.store redo {entry.short}` first"
        ) from error


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _age_s(path: Path) -> float:
    # A rename (into the trash) changes ctime only.
    stat = path.stat()
    return time.time() - max(stat.st_mtime, stat.st_ctime)
