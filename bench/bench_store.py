"""How fast a store with 10,000 stages answers: lookups, and a listing of everything."""

import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tsr.stage import Stage
from tsr.store import Store

STAGES = 10_000


@dataclass(frozen=True, eq=False)
class Toy(Stage):
    kind: ClassVar[str] = "toy"
    number: int


def main() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        toys = [Toy(number) for number in range(2 * STAGES)]
        for toy in toys[::2]:
            _lay(store, toy)
        lookups = [_microseconds(store, toy) for toy in toys]
        start = time.perf_counter()
        listed = sum(1 for entry in store.entries() if entry.record and entry.bytes)
        listing = time.perf_counter() - start
    median = statistics.median(lookups)
    worst = max(lookups)
    print(
        f"store of {listed:,} stages: a lookup takes {median:.1f} µs (median; slowest "
        f"{worst:.0f} µs), listing all of them {listing:.2f} s"
    )
    return {"lookup_us": median, "slowest_us": worst, "listing_s": listing}


def _lay(store: Store, toy: Toy) -> None:
    # As published, without the waiting for the disk.
    folder = store.layout.target(toy.kind, toy.key)
    folder.mkdir(parents=True)
    manifest = {"key": toy.key, "files": {"rows.jsonl": {"sha256": "0" * 64, "bytes": 100}}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "record.json").write_text(json.dumps({"seconds": 1.0, "finished": "2025-01-01"}))
    (folder / "DONE").write_text(toy.key)


def _microseconds(store: Store, toy: Toy) -> float:
    toy.key  # noqa: B018 - hashing the recipe is not the store's work
    start = time.perf_counter()
    found = store.has(toy)
    took = time.perf_counter() - start
    assert found == (toy.number % 2 == 0)
    return took * 1e6


if __name__ == "__main__":
    main()
