"""The store when workers die, stall or race, and when the disk is full or read-only."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tsr.stage import Stage
from tsr.store import LostClaim, Store
from tsr.store.claim import Claim, Claims
from tsr.store.owner import Owner, process_start

WORKERS = Path(__file__).with_name("store_workers.py")
BLOCKS = 4


@dataclass(frozen=True, eq=False)
class Toy(Stage):
    kind: ClassVar[str] = "toy"
    name: str
    sources: tuple["Toy", ...] = ()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@contextmanager
def worker(*arguments: str | Path) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-W", "error", str(WORKERS), *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def said(process: "subprocess.Popen[str]") -> str:
    return process.communicate(timeout=60)[0].strip()


def wait_for(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def finish(folder: Path) -> dict[str, Any]:
    (folder / "blocks").mkdir(exist_ok=True)
    for number in range(BLOCKS):
        block = folder / "blocks" / f"{number}.txt"
        if not block.exists():
            block.write_text(f"{number}\n")
    return {}


def blocks(store: Store, name: str) -> dict[str, str]:
    return {p.name: p.read_text() for p in (store.folder(Toy(name)) / "blocks").iterdir()}


WHOLE = {f"{n}.txt": f"{n}\n" for n in range(BLOCKS)}


def claim_by(store: Store, item: Toy, **changes: Any) -> Path:
    """A claim as another worker would hold it."""
    store.layout.prepare()
    owner = json.loads(Owner.here(item.label).text()) | changes
    folder = store.claims.path(item.key)
    folder.mkdir()
    (folder / "owner.json").write_text(json.dumps(owner))
    (folder / "beat").touch()
    return folder


def test_two_processes_that_want_the_same_stage_do_it_once(root: Path) -> None:
    with worker("work", root, "a", "0.05") as one, worker("work", root, "a", "0.05") as two:
        assert sorted([said(one), said(two)]) == ["executed", "reused"]
    assert root.with_suffix(".diary").read_text().split() == ["0", "1", "2", "3"]
    assert blocks(Store(root), "a") == WHOLE
    assert not list((root / "claims").iterdir())


def test_a_killed_worker_is_taken_over_at_once_and_its_blocks_are_used(root: Path) -> None:
    store = Store(root, poll_s=0.02)
    with worker("work", root, "a", "0.05") as victim:
        wait_for(lambda: list(root.glob("stages/toy/.*/blocks/1.txt")))
        assert store.state(Toy("a")) == "running"
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    assert store.state(Toy("a")) == "partial"
    kept = {p.name: p.stat().st_ino for p in root.glob("stages/toy/.*/blocks/*")}
    start = time.monotonic()
    made = store.ensure(Toy("a"), finish)
    assert time.monotonic() - start < 5
    assert made.executed
    assert made.record["resumed"]
    assert blocks(store, "a") == WHOLE
    # Nobody else can write to them, so they were not even copied.
    assert all((made.folder / "blocks" / n).stat().st_ino == inode for n, inode in kept.items())


def test_one_who_waits_takes_over_when_the_worker_dies(root: Path) -> None:
    with worker("work", root, "a", "0.3") as victim:
        wait_for(lambda: list(root.glob("stages/toy/.*/blocks/0.txt")))
        with worker("work", root, "a", "0") as heir:
            time.sleep(0.3)
            assert heir.poll() is None
            victim.kill()
            victim.wait()
            assert said(heir) == "executed"
    assert root.with_suffix(".diary").read_text().split() == ["0", "1", "2", "3"]


def test_waiting_says_for_whom_once(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "tsr.store")
    with worker("work", root, "a", "0.1") as other:
        wait_for(lambda: list(root.glob("stages/toy/.*/log.txt")))
        made = Store(root, poll_s=0.01).ensure(Toy("a"), finish)
        assert said(other) == "executed"
    assert not made.executed
    [line] = [r.getMessage() for r in caplog.records]
    assert Toy("a").label in line
    assert f"pid {other.pid}" in line


def test_a_stalled_worker_that_wakes_meanwhile_spoils_nothing(root: Path) -> None:
    with worker("work", root, "a", "0.05", "0.5") as stalled:
        wait_for(lambda: list(root.glob("stages/toy/.*/blocks/1.txt")))
        stalled.send_signal(signal.SIGSTOP)

        def make(folder: Path) -> dict[str, Any]:
            stalled.send_signal(signal.SIGCONT)
            word, *rest = said(stalled).split()
            assert word == "LostClaim"
            assert f"pid {os.getpid()}" in " ".join(rest)
            return finish(folder)

        store = Store(root, stale_after_s=0.5, poll_s=0.02)
        assert store.ensure(Toy("a"), make).executed
    assert blocks(Store(root), "a") == WHOLE
    # It woke with the log open and wrote on, but into a file that is no longer here.
    log = (store.folder(Toy("a")) / "log.txt").read_text().splitlines()
    assert log[:2] == [f"block {n} by {stalled.pid}" for n in range(2)]
    assert len(log) < BLOCKS
    assert store.leftovers(Toy("a")) == []


def test_a_stalled_worker_that_wakes_too_late_takes_what_is_there(root: Path) -> None:
    with worker("work", root, "a", "0.05", "0.5") as stalled:
        wait_for(lambda: list(root.glob("stages/toy/.*/blocks/1.txt")))
        stalled.send_signal(signal.SIGSTOP)
        store = Store(root, stale_after_s=0.5, poll_s=0.02)
        assert store.ensure(Toy("a"), finish).executed
        stalled.send_signal(signal.SIGCONT)
        assert said(stalled) == "reused"
    assert blocks(Store(root), "a") == WHOLE
    assert store.leftovers(Toy("a")) == []


def test_who_lost_the_claim_may_not_publish(root: Path) -> None:
    store = Store(root)

    def make(folder: Path) -> dict[str, Any]:
        store.claims.bury(
            Toy("a").key, Owner.parse(next(root.glob("claims/*/owner.json")).read_text())
        )
        return finish(folder)

    with pytest.raises(LostClaim, match="run again"):
        store.ensure(Toy("a"), make)
    assert store.state(Toy("a")) == "partial"


def test_the_slower_of_two_who_take_over_leaves_the_new_claim_alone(root: Path) -> None:
    store = Store(root)
    folder = claim_by(store, Toy("a"), pid=2**22 + 1, start=1, id="dead")
    dead = Owner.parse((folder / "owner.json").read_text())
    claim = store.claims.take(Toy("a").key, "a")
    assert claim is not None
    with claim:
        Claims(root / "claims", 60).bury(Toy("a").key, dead)
        assert not claim.lost()


def test_what_was_published_between_look_and_claim_is_used(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(root)
    take = store.claims.take

    def late(key: str, label: str) -> Claim | None:
        Store(root).ensure(Toy("a"), finish)
        return take(key, label)

    monkeypatch.setattr(store.claims, "take", late)
    assert not store.ensure(Toy("a"), finish).executed
    assert not list((root / "claims").iterdir())


def test_one_overtaken_before_it_begins_leaves_the_new_workers_folder_alone(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(root)
    item = Toy("a")
    take = store.claims.take

    def overtaken(key: str, label: str) -> Claim | None:
        claim = take(key, label)
        assert claim is not None
        store.claims.bury(key, claim.owner)
        claim_by(store, item, id="new")
        store.layout.part(item.kind, key, "new").mkdir(parents=True)
        return claim

    monkeypatch.setattr(store.claims, "take", overtaken)
    with pytest.raises(LostClaim, match="taken over by"):
        store.ensure(item, finish)
    assert store.leftovers(item) == [store.layout.part(item.kind, item.key, "new")]


def test_a_fresh_claim_of_another_host_is_respected_and_a_stale_one_taken(root: Path) -> None:
    store = Store(root, stale_after_s=0.5, poll_s=0.01)
    folder = claim_by(store, Toy("a"), host="elsewhere", pid=2**22 + 1)
    start = time.monotonic()
    assert store.state(Toy("a")) == "running"
    assert store.ensure(Toy("a"), finish).executed
    assert time.monotonic() - start > 0.4
    assert not folder.exists()


def test_clocks_that_differ_do_not_make_a_claim_stale(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(root)
    claim_by(store, Toy("a"), host="elsewhere")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    assert store.state(Toy("a")) == "running"


def test_a_reused_pid_is_not_taken_for_the_worker(root: Path) -> None:
    store = Store(root, poll_s=0.01)
    claim_by(store, Toy("mine"))
    claim_by(store, Toy("reused"), start=(process_start(os.getpid()) or 0) - 1)
    assert store.state(Toy("mine")) == "running"
    assert store.state(Toy("reused")) == "missing"
    assert store.ensure(Toy("reused"), finish).executed


def test_the_same_host_name_on_another_machine_tells_nothing_of_its_pids(root: Path) -> None:
    store = Store(root)
    claim_by(store, Toy("a"), machine="another boot", pid=2**22 + 1, start=1)
    assert store.state(Toy("a")) == "running"


def test_a_claim_without_an_owner_ends_too(root: Path) -> None:
    store = Store(root, stale_after_s=0.2, poll_s=0.01)
    (claim_by(store, Toy("a")) / "owner.json").write_text("")
    assert store.state(Toy("a")) == "running"
    assert store.ensure(Toy("a"), finish).executed


def test_death_at_any_step_leaves_nothing_half_visible(root: Path) -> None:
    with worker("kill_at_every_step", root) as driver:
        steps = said(driver)
    assert steps.isdigit(), steps
    assert int(steps) > 30


def test_death_at_any_moment_leaves_nothing_half_visible(root: Path) -> None:
    with worker("kill_at_random", root, "25") as driver:
        assert said(driver) == "whole"


def mounted(script: str, folder: Path, *arguments: str) -> str:
    """What a worker says that sees `folder` through a mount of its own, gone when it ends."""
    enter = f'{{ {script}; }} || exit 77; shift; exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", enter, "sh"]
    run = [sys.executable, "-W", "error", str(WORKERS), *arguments]
    try:
        done = subprocess.run(
            [*command, str(folder), *run], capture_output=True, text=True, timeout=60, check=False
        )
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_read_only_store_is_read_and_refuses_work(root: Path) -> None:
    Store(root).ensure(Toy("a"), lambda folder: finish(folder) | {"score": 3})
    claim_by(Store(root), Toy("other"), host="elsewhere")
    read_only = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"'
    text = mounted(read_only, root, "read", str(root), "a")
    assert text == f"running {{'score': 3}} {Toy('a').key[:20]}"
    assert mounted(read_only, root, "work", str(root), "a", "0") == "reused"
    text = mounted(read_only, root, "work", str(root), "b", "0")
    assert text.startswith("StoreReadOnly")
    assert str(root) in text


def test_a_full_disk_is_named_and_the_work_kept(root: Path) -> None:
    root.mkdir()
    said = mounted('mount -t tmpfs -o size=256k tmpfs "$1"', root, "fill", str(root))
    refused = "StoreFull partial True True"
    assert said.splitlines() == [refused, refused, "{'left': 10} True"]
