"""Processes for the tests of the store: they work, and are stopped, killed or refused.

Run as a script: `store_workers.py WORKER ROOT ARGUMENT…`; prints what happened, one word or line.
"""

import os
import random
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tsr.stage import Stage
from tsr.store import Store, StoreError
from tsr.store.manifest import faults

BLOCKS = 4


@dataclass(frozen=True, eq=False)
class Toy(Stage):
    kind: ClassVar[str] = "toy"
    name: str
    sources: tuple["Toy", ...] = ()


def write_blocks(folder: Path, delay_s: float, diary: Path | None = None) -> dict[str, Any]:
    """A long stage: a block at a time, those that are there already left alone; a log kept open."""
    with (folder / "log.txt").open("a") as log:
        for number in range(BLOCKS):
            block = folder / "blocks" / f"{number}.txt"
            if not block.exists():
                time.sleep(delay_s)
                log.write(f"block {number} by {os.getpid()}\n")
                log.flush()
                block.parent.mkdir(parents=True, exist_ok=True)
                block.write_text(f"{number}\n")
                if diary:
                    with diary.open("a") as lines:
                        lines.write(f"{number}\n")
    return {"units": BLOCKS}


def work(root: str, name: str, delay_s: str, stale_after_s: str = "60") -> None:
    """Ensure one stage and say whether this process did the work."""
    store = Store(Path(root), stale_after_s=float(stale_after_s), poll_s=0.02)
    diary = Path(root).with_suffix(".diary")
    try:
        made = store.ensure(Toy(name), lambda folder: write_blocks(folder, float(delay_s), diary))
        print("executed" if made.executed else "reused")
    except StoreError as error:
        print(type(error).__name__, error)


def read(root: str, name: str) -> None:
    """Read a published stage."""
    store = Store(Path(root))
    assert store.has(Toy(name))
    print(
        store.state(Toy("other")), store.record(Toy(name))["figures"], store.folder(Toy(name)).name
    )


def fill(root: str) -> None:
    """Fill the disk inside `make`, then at publishing; then make room and go on."""
    store = Store(Path(root))

    def until_full(folder: Path) -> dict[str, Any]:
        with (folder / "big").open("ab", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)

    def until_full_silently(folder: Path) -> dict[str, Any]:
        try:
            return until_full(folder)
        except OSError:
            return {}

    for make in (until_full, until_full_silently):
        try:
            store.ensure(Toy("fill"), make)
        except StoreError as error:
            kept = (store.leftovers(Toy("fill"))[0] / "big").stat().st_size > 0
            print(type(error).__name__, store.state(Toy("fill")), kept, root in str(error))
    made = store.ensure(Toy("fill"), lambda folder: {"left": _shrink(folder / "big")})
    print(made.record["figures"], made.record["resumed"])


def _shrink(path: Path) -> int:
    os.truncate(path, 10)
    return path.stat().st_size


def kill_at_every_step(root: str) -> None:
    """Die at the first filesystem event of `ensure`, then at the second, and so on to the last."""
    steps = 0
    while True:
        store = Store(Path(root) / str(steps))
        child = os.fork()
        if child == 0:
            _die_at_event(steps)
            store.ensure(Toy("a"), lambda folder: write_blocks(folder, 0))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        _check_then_finish(store, Toy("a"))
        if status == 0:
            print(steps)
            return
        steps += 1


def _die_at_event(number: int) -> None:
    left = number
    parent = os.getpid()

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal left
        watched = event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate")
        if watched and os.getpid() == parent:
            if left == 0:
                os.kill(parent, signal.SIGKILL)
            left -= 1

    sys.addaudithook(hook)


def kill_at_random(root: str, rounds: str) -> None:
    """Workers that share a store die at any moment; what is visible is whole all the same."""
    dice = random.Random(7)
    store = Store(Path(root), poll_s=0.002)
    for number in range(int(rounds)):
        children = [_fork_maker(store, number) for _ in range(2)]
        time.sleep(dice.uniform(0, 0.03))
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        for old in range(number + 1):
            _check(store, Toy(f"stage {old}"))
    for number in range(int(rounds)):
        _check_then_finish(store, Toy(f"stage {number}"))
    print("whole")


def _fork_maker(store: Store, first: int) -> int:
    child = os.fork()
    if child == 0:
        for number in range(first, first + 5):
            store.ensure(Toy(f"stage {number}"), lambda folder: write_blocks(folder, 0.001))
        os._exit(0)
    return child


def _check(store: Store, item: Toy) -> None:
    target = store.layout.target(item.kind, item.key)
    assert store.has(item) == target.exists(), "a half stage is visible"
    if target.exists():
        assert not list(faults(target, by_hash=True))
        names = sorted(p.name for p in (target / "blocks").iterdir())
        assert names == [f"{n}.txt" for n in range(BLOCKS)]
        assert not list(target.rglob(".*"))


def _check_then_finish(store: Store, item: Toy) -> None:
    _check(store, item)
    start = time.monotonic()
    store.ensure(item, lambda folder: write_blocks(folder, 0))
    assert time.monotonic() - start < 5, "a dead worker of this machine was waited for"
    _check(store, item)
    assert store.state(item) == "done"
    assert not store.leftovers(item)


if __name__ == "__main__":
    _, worker, *arguments = sys.argv
    globals()[worker](*arguments)
