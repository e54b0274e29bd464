"""The store as its users see it: work done once, kept, found, verified, and thrown away."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from tsr.stage import Stage
from tsr.store import (
    Busy,
    Damaged,
    Missing,
    NoSuchKey,
    NotPlain,
    Store,
    StoreError,
    StoreTooNew,
    write_atomic,
)
from tsr.store.__main__ import main


@dataclass(frozen=True, eq=False)
class Toy(Stage):
    kind: ClassVar[str] = "toy"
    name: str
    sources: tuple["Toy", ...] = ()


A = Toy("a")
B = Toy("b", (A,))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> Store:
    return Store(root)


@pytest.fixture
def cli(root: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def run(*arguments: str) -> tuple[int, str]:
        status = main([*arguments, "--store", str(root)])
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return run


def write(folder: Path) -> dict[str, Any]:
    (folder / "sub").mkdir(exist_ok=True)
    (folder / "rows.jsonl").write_text('{"a": 1}\n' * 1000)
    (folder / "sub" / "text.txt").write_text("hello\n")
    return {"units": 1000, "tag": "cpu"}


def never(folder: Path) -> dict[str, Any]:
    raise AssertionError(f"asked to work in {folder}")


def test_a_stage_is_made_once_and_found_by_whoever_wants_the_same(root: Path, store: Store) -> None:
    assert not store.has(A)
    assert store.state(A) == "missing"
    first = store.ensure(A, write)
    again = Store(root).ensure(Toy("a"), never)
    assert (first.executed, again.executed) == (True, False)
    assert first.folder == again.folder == store.folder(A) == root / "stages/toy" / A.key[:20]
    assert first.record == again.record == store.record(A)
    assert store.state(A) == "done"
    assert not list((root / "claims").iterdir())
    assert not store.has(B)


def test_a_folder_tells_all_about_itself(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    store.ensure(A, write)
    made = Store(store.root, revision="abc").ensure(B, write)
    about = yaml.safe_load((made.folder / "stage.yaml").read_text())
    assert about["recipe"] == B.recipe()
    assert about["inputs"] == [{"key": A.key, "label": A.label}]
    assert (about["kind"], about["version"], about["key"]) == ("toy", 1, B.key)
    record = json.loads((made.folder / "record.json").read_text())
    assert record["figures"] == {"units": 1000, "tag": "cpu"}
    assert (record["slurm_job"], record["revision"], record["pid"]) == ("77", "abc", os.getpid())
    assert record["started"] <= record["finished"]
    assert {"tsr", "torch"} <= set(record["packages"])
    manifest = json.loads((made.folder / "manifest.json").read_text())
    assert set(manifest["files"]) == {"rows.jsonl", "sub/text.txt", "stage.yaml", "record.json"}


def test_figures_keep_what_json_can_say(store: Store) -> None:
    class Scalar:
        def item(self) -> float:
            return 0.5

    figures = {"nan": float("nan"), "inf": [float("inf")], "numpy": Scalar(), "n": 3, "t": (True,)}
    made = store.ensure(A, lambda folder: figures)
    assert made.record["figures"] == {"nan": None, "inf": [None], "numpy": 0.5, "n": 3, "t": [True]}
    assert store.record(A) == made.record


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_work_that_fails_is_kept_and_gone_on_with(store: Store, error: BaseException) -> None:
    def fail(folder: Path) -> dict[str, Any]:
        (folder / "log.txt").write_text("as far as here\n")
        write_atomic(folder / "block-0", "whole")
        (folder / ".block-1.tmp-1234").write_text("ha")
        raise error

    with pytest.raises(type(error)):
        store.ensure(A, fail)
    assert store.state(A) == "partial"
    [left] = store.leftovers(A)
    assert (left / "log.txt").read_text() == "as far as here\n"

    def go_on(folder: Path) -> dict[str, Any]:
        assert sorted(p.name for p in folder.iterdir()) == ["block-0", "log.txt", "stage.yaml"]
        return {}

    made = store.ensure(A, go_on)
    assert made.record["resumed"]
    assert store.leftovers(A) == []
    assert not store.ensure(B, write).record["resumed"]


def test_drafts_that_are_left_in_a_finished_folder_are_not_published(store: Store) -> None:
    def make(folder: Path) -> dict[str, Any]:
        (folder / ".x.tmp-99").write_text("half")
        (folder / ".hidden").write_text("kept")
        return {}

    names = {p.name for p in store.ensure(A, make).folder.iterdir()}
    assert ".hidden" in names
    assert ".x.tmp-99" not in names


def test_who_may_read_a_stage_may_read_all_of_its_files(store: Store) -> None:
    """transformers writes weights for its user alone; another user of the store needs them."""

    def make(folder: Path) -> dict[str, Any]:
        (folder / "weights").write_text("w")
        (folder / "weights").chmod(0o600)
        return {}

    folder = store.ensure(A, make).folder
    assert (folder / "weights").stat().st_mode & 0o444 == (
        folder / "stage.yaml"
    ).stat().st_mode & 0o444


@pytest.mark.parametrize("name", ["link", "sub/link", "folder", "record.json", "DONE"])
def test_what_is_no_plain_file_of_its_own_is_refused(store: Store, name: str) -> None:
    def make(folder: Path) -> dict[str, Any]:
        write(folder)
        if "link" in name:
            (folder / name).symlink_to(folder / "rows.jsonl")
        elif name == "folder":
            (folder / name).symlink_to(folder / "sub")
        else:
            (folder / name).write_text("mine")
        return {}

    with pytest.raises(NotPlain, match=name):
        store.ensure(A, make)
    assert store.state(A) == "partial"


def test_a_missing_stage_is_said_to_be_missing(store: Store) -> None:
    for ask in (store.folder, store.record):
        with pytest.raises(Missing, match=A.label):
            ask(A)
    assert not store.root.exists()


def harm(folder: Path, how: str) -> str:
    rows = folder / "rows.jsonl"
    if how == "changed":
        rows.write_bytes(rows.read_bytes().replace(b"1", b"2", 1))
    elif how == "truncated":
        os.truncate(rows, 100)
    elif how == "deleted":
        rows.unlink()
    elif how == "manifest":
        os.truncate(folder / "manifest.json", 50)
        return "manifest.json"
    return "rows.jsonl"


@pytest.mark.parametrize("how", ["changed", "truncated", "deleted", "manifest"])
def test_damage_is_found_named_and_made_good(
    root: Path, store: Store, cli: Callable[..., tuple[int, str]], how: str
) -> None:
    name = harm(store.ensure(A, write).folder, how)
    with pytest.raises(Damaged, match=f"{A.label}.*{name}.*tsr.store redo {A.key[:20]}"):
        Store(root).folder(A)
    with pytest.raises(Damaged):
        Store(root).ensure(A, never)
    status, text = cli("verify")
    assert status == 1
    assert f"damaged  toy {A.key[:20]}  {name}" in text
    assert cli("redo", A.key[:6])[0] == 0
    assert store.ensure(A, write).executed
    assert cli("verify", A.key) == (0, "1 stages verified, 0 damaged\n")
    assert Store(root).folder(A)


def test_check_size_takes_the_content_on_trust(root: Path, store: Store) -> None:
    folder = store.ensure(A, write).folder
    harm(folder, "changed")
    assert Store(root, check="size").folder(A) == folder
    harm(folder, "truncated")
    with pytest.raises(Damaged, match="100 bytes instead of"):
        Store(root, check="size").folder(A)
    with pytest.raises(ValueError, match="hash, size"):
        Store(root, check="none")


def test_a_stage_is_verified_once_and_again_when_it_was_redone(root: Path, store: Store) -> None:
    folder = store.ensure(A, write).folder
    reader = Store(root)
    reader.folder(A)
    harm(folder, "changed")
    reader.folder(A)
    store.redo(A.key)
    with pytest.raises(Missing):
        reader.folder(A)
    harm(store.ensure(A, write).folder, "changed")
    with pytest.raises(Damaged):
        reader.folder(A)


def test_a_folder_without_its_end_mark_is_in_nobodys_way(root: Path, store: Store) -> None:
    (store.ensure(A, write).folder / "DONE").unlink()
    assert store.state(A) == "missing"
    assert store.ensure(A, write).executed
    assert Store(root).folder(A)


def test_a_newer_format_is_refused(root: Path, store: Store) -> None:
    store.ensure(A, write)
    assert json.loads((root / "STORE.json").read_text()) == {"format": 1}
    (root / "STORE.json").write_text('{"format": 2}')
    with pytest.raises(StoreTooNew, match=r"format 2; this tsr reads format 1.*upgrade tsr"):
        Store(root)
    (root / "STORE.json").write_text("")
    with pytest.raises(StoreError, match=r"STORE\.json is unreadable"):
        Store(root)


def test_timings_are_kept_for_estimates(root: Path, store: Store) -> None:
    assert store.timings("toy") == []
    store.ensure(A, write)
    path = root / "timings" / "toy.jsonl"
    with path.open("a") as file:
        file.write('broken\n7\n{"kind": "toy", "seconds": 1, "host": "elsewhere"}\n{"kind": "to')
    store.ensure(B, write)
    lines = store.timings("toy")
    assert [(t["units"], t["tag"], t["resumed"]) for t in lines] == [(1000, "cpu", False)] * 2
    path.write_text('{"kind": "toy", "seconds": 1, "host": "elsewhere"}\n')
    assert [t["host"] for t in store.timings("toy")] == ["elsewhere"]


def test_keys_may_be_shortened_but_not_guessed(store: Store) -> None:
    toys = [Toy(str(number)) for number in range(20)]
    for toy in toys:
        store.ensure(toy, lambda folder: {})
    assert store.find(toys[3].key)[0].folder == store.folder(toys[3])
    first = next(t for t in toys if sum(o.key[0] == t.key[0] for o in toys) > 1).key[0]
    with pytest.raises(NoSuchKey, match=f"'{first}' may be any of: toy {first}"):
        store.redo(first)
    for prefix in ("xyz", ""):
        with pytest.raises(NoSuchKey):
            store.find(prefix)


def test_gc_keeps_what_runs_need(store: Store, cli: Callable[..., tuple[int, str]]) -> None:
    other, last = Toy("other"), Toy("last", (B,))
    for stage in (A, B, last, other):
        store.ensure(stage, write)
    store.keep("run-1", [last.key], run="/runs/1")
    store.redo(other.key)
    store.ensure(other, write)
    status, dry = cli("gc")
    assert status == 0
    assert f"stages/toy/{other.key[:20]}  (no run needs it)" in dry
    assert f"trash/{other.key[:20]}" in dry
    assert re.fullmatch(
        r"2 things, 2\d\.\d kB; nothing is deleted without --yes", dry.splitlines()[-1]
    )
    assert store.has(other)
    assert "0 things" in cli("gc", "--yes", "--older-than", "1")[1]
    assert "2 things" in cli("gc", "--yes")[1]
    assert [store.state(s) for s in (A, B, last, other)] == ["done"] * 3 + ["missing"]
    assert cli("gc") == (0, "0 things, 0 B\n")
    (store.layout.roots / "run-1.json").write_text("{")
    assert cli("gc", "--yes")[0] == 2
    assert store.has(last)


def test_gc_takes_dead_work_and_leaves_living_work(
    store: Store, cli: Callable[..., tuple[int, str]]
) -> None:
    def fail(folder: Path) -> dict[str, Any]:
        write(folder)
        raise ValueError

    dead, wanted = Toy("dead"), Toy("wanted")
    for stage in (dead, wanted):
        with pytest.raises(ValueError, match=r"^$"):
            store.ensure(stage, fail)
    store.keep("run", [wanted.key])
    claim = store.claims.path(dead.key)
    claim.mkdir()
    (claim / "owner.json").write_text('{"id": "x", "host": "h", "pid": 1}')
    os.utime(claim / "owner.json", (0, 0))
    (claim / "beat").touch()
    os.utime(claim / "beat", (0, 0))

    def make(folder: Path) -> dict[str, Any]:
        write(folder)
        status, text = cli("gc", "--yes")
        assert status == 0
        assert "claim of a dead worker" in text
        assert store.state(B) == "running"
        with pytest.raises(Busy, match=f"pid {os.getpid()}"):
            store.redo(B.key)
        return {}

    store.ensure(A, write)
    assert store.ensure(B, make).executed
    assert store.state(dead) == "missing"
    assert store.state(wanted) == "partial"
    # What somebody works from is needed, though no run has said so.
    assert store.has(A)


def test_ls_and_show_tell_what_is_there(store: Store, cli: Callable[..., tuple[int, str]]) -> None:
    store.ensure(A, write)
    store.keep("study", [A.key])

    def look(folder: Path) -> dict[str, Any]:
        (folder / "x").write_text("x")
        lines = {
            line.split()[1]: line.split() for line in cli("ls", "--kind", "toy")[1].splitlines()
        }
        assert lines[A.key[:20]][-1] == "done"
        assert lines[B.key[:20]][-1] == "running"
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        store.ensure(B, look)
    assert [line.split()[-1] for line in sorted(cli("ls")[1].splitlines())[1:]].count(
        "partial"
    ) == 1
    assert cli("ls", "--kind", "none") == (0, "")
    shown = yaml.safe_load(cli("show", A.key[:8])[1])
    assert shown["recipe"] == A.recipe()
    assert shown["record"]["figures"] == {"units": 1000, "tag": "cpu"}
    assert shown["files"]["sub/text.txt"]["bytes"] == 6
    assert shown["used by"] == [f"toy {B.key[:20]}", "run study"]
    assert yaml.safe_load(cli("show", B.key)[1])["state"] == "partial"


def test_remove_deletes_at_once(store: Store) -> None:
    store.ensure(A, write)
    store.remove(A.key)
    assert store.state(A) == "missing"
    assert not list(store.layout.trash.iterdir())


def test_the_command_line_fails_politely(
    tmp_path: Path,
    store: Store,
    cli: Callable[..., tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert cli("ls")[0] == 2
    assert "there is no store at" in cli("ls")[1]
    store.ensure(A, write)
    status, text = cli("show", "ffff")
    assert status == 2
    assert "no stage has a key that begins with 'ffff'" in text

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "entries", interrupt)
    assert cli("ls")[0] == 130


def test_the_reader_of_a_pipe_may_leave_early(store: Store) -> None:
    store.ensure(A, write)
    command = [sys.executable, "-m", "tsr.store", "ls"]
    environment = os.environ | {"TSR_STORE": str(store.root)}
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        command, stdout=writing, stderr=subprocess.PIPE, env=environment, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_store_is_light() -> None:
    code = "import sys, tsr.store; print({'torch', 'numpy', 'pyarrow', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
