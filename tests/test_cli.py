"""The commands as a user runs them: messages, exit codes, what is left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TINY = ["model=tiny", "engine=scripted", "variant=self_rewarding", "iterations=1"]


def tsr(folder: Path, module: str, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error::UserWarning:tsr", "-m", f"tsr.{module}", *args],
        cwd=folder, capture_output=True, text=True, check=False, env=os.environ | env,
    )  # fmt: skip


def test_run_then_again_then_look_at_the_store(tmp_path: Path) -> None:
    first = tsr(tmp_path, "run", *TINY)
    assert first.returncode == 0, first.stderr
    assert "M1" in first.stdout
    assert "\x1b[" not in first.stdout, "plain when not a terminal"
    again = tsr(tmp_path, "run", *TINY)
    assert "0 to run" in again.stdout
    assert "0 stages executed" in again.stdout
    listed = tsr(tmp_path, "store", "ls")
    assert listed.returncode == 0
    assert "dpo" in listed.stdout
    assert tsr(tmp_path, "store", "verify").returncode == 0
    unused = tsr(tmp_path, "store", "gc")
    assert unused.returncode == 0


def test_a_sweep_on_the_command_line_ends_with_a_comparison(tmp_path: Path) -> None:
    lists = ["variant=self_rewarding,past_only", "k=2,3"]
    done = tsr(tmp_path, "run", "-m", "model=tiny", "engine=scripted", "iterations=1", *lists)
    assert done.returncode == 0, done.stderr
    assert "4 run(s)" in done.stdout
    assert "Comparison" in done.stdout
    assert len(list((tmp_path / "runs").glob("*/status.json"))) == 4


def test_the_plan_prices_a_sweep_and_writes_nothing(tmp_path: Path) -> None:
    planned = tsr(tmp_path, "plan", "-m", "variant=self_rewarding,temporal", "model=tiny,qwen")
    assert planned.returncode == 0, planned.stderr
    assert "trainings" in planned.stdout
    assert list(tmp_path.iterdir()) == []
    as_json = tsr(tmp_path, "plan", "--json", "model=tiny")
    stages = [json.loads(line) for line in as_json.stdout.splitlines()]
    assert {"prompts", "generate", "judge", "pair", "dpo"} <= {s["kind"] for s in stages}


def test_an_unpinned_model_is_marked_offline(tmp_path: Path) -> None:
    planned = tsr(tmp_path, "plan", "model=qwen", "model.revision=null")
    assert planned.returncode == 0, planned.stderr
    assert "not pinned" in planned.stdout
    assert "model.revision" in planned.stdout


BAD = [
    (["k=0"], 2, "k=0: must be >= 1"),
    (["variant=nothing"], 2, "temporal"),
    (["variant=past_only", "variant.anchor=null"], 2, "needs an anchor"),
    (["data.prompts.kind=file", "data.prompts.path=missing.jsonl"], 2, "no such file"),
    (["model=qwen", "model.revision=null"], 2, "give the commit"),
]


@pytest.mark.parametrize(("overrides", "code", "told"), BAD)
def test_bad_settings(tmp_path: Path, overrides: list[str], code: int, told: str) -> None:
    done = tsr(tmp_path, "run", *overrides, HF_HUB_OFFLINE="1")
    assert done.returncode == code
    assert told in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    planned = tsr(tmp_path, "plan", *overrides, HF_HUB_OFFLINE="1")
    if "model.revision=null" not in overrides:
        assert (planned.returncode, told in planned.stderr) == (code, True)


FILES = [
    ("", "holds no rows"),
    ('{"prompt": "fine"}\n{"prompt": oops}\n', "p.jsonl:2: broken JSON"),
    ('{"question": "what?"}\n', "question"),
]


@pytest.mark.parametrize(("content", "told"), FILES)
def test_bad_data_files(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "p.jsonl").write_text(content)
    source = ["data.prompts.kind=file", "data.prompts.path=p.jsonl"]
    done = tsr(tmp_path, "run", *TINY, *source)
    assert done.returncode == 1
    assert told in done.stderr
    assert "p.jsonl" in done.stderr


def test_a_store_of_a_later_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "STORE.json").write_text('{"format": 99}')
    done = tsr(tmp_path, "run", *TINY)
    assert done.returncode == 1
    assert "99" in done.stderr


def test_a_damaged_file_is_named_and_redone_on_request(tmp_path: Path) -> None:
    assert tsr(tmp_path, "run", *TINY).returncode == 0
    (pairs,) = (tmp_path / "store" / "stages" / "pair").glob("*/pairs.jsonl")
    good = pairs.read_text()
    pairs.write_text(good.replace("assistant", "assistent"))
    longer = [*TINY[:3], "iterations=1", "train.dpo.beta=0.3"]
    done = tsr(tmp_path, "run", *longer)
    assert done.returncode == 1
    assert "pairs.jsonl" in done.stderr
    key = pairs.parent.name[:12]
    assert f"redo {key}" in done.stderr
    assert tsr(tmp_path, "store", "redo", key).returncode == 0
    assert tsr(tmp_path, "run", *longer).returncode == 0
    assert pairs.read_text() == good


def test_ctrl_c_exits_130_and_the_same_command_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tsr.run", *TINY]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("store/stages/pair/*/DONE")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "interrupted" in stderr
    (status,) = (tmp_path / "runs").glob("*/status.json")
    assert json.loads(status.read_text())["state"] == "interrupted"
    assert tsr(tmp_path, "run", *TINY).returncode == 0


def test_wandb_offline_leaves_one_run_per_run(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    done = tsr(
        tmp_path, "run", "-m", "model=tiny", "engine=scripted", "iterations=1",
        "variant=self_rewarding,past_only", "tracker=wandb",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    logged = list(tmp_path.glob("runs/*/wandb/offline-run-*/run-*.wandb"))
    assert len(logged) == 2
    assert all(path.stat().st_size > 1000 for path in logged)


@contextmanager
def mounted(*command: str, at: Path) -> Iterator[None]:
    """Something mounted for the while; skipped where mounting is not allowed."""
    done = subprocess.run(["mount", *command, str(at)], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"cannot mount: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(at)], check=True)


def test_a_full_disk_says_where_and_what_to_do(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    with mounted("-t", "tmpfs", "-o", "size=300k", "tmpfs", at=small):
        done = tsr(tmp_path, "run", *TINY, "store=small/store")
        assert done.returncode == 1
        assert "no room left in the store small/store" in done.stderr
        assert "make room" in done.stderr
        (status,) = (tmp_path / "runs").glob("*/status.json")
        assert json.loads(status.read_text())["state"] == "failed"
        subprocess.run(["mount", "-o", "remount,size=100m", str(small)], check=True)
        again = tsr(tmp_path, "run", *TINY, "store=small/store")
        assert again.returncode == 0, again.stderr


def test_a_read_only_store_serves_what_it_has_and_refuses_the_rest(tmp_path: Path) -> None:
    assert tsr(tmp_path, "run", *TINY).returncode == 0
    store = tmp_path / "store"
    with mounted("--bind", str(store), at=store):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(store)], check=True)
        again = tsr(tmp_path, "run", *TINY)
        assert again.returncode == 0, again.stderr
        assert "0 stages executed" in again.stdout
        other = tsr(tmp_path, "run", *TINY, "k=2")
        assert other.returncode == 1
        assert "cannot be written from here" in other.stderr
        jobs = tsr(tmp_path, "run", "-m", *TINY, "k=2", "hydra/launcher=slurm")
        assert jobs.returncode == 1
        assert jobs.stderr.startswith("tsr: the store")
