"""SIGKILL at any moment, then the same command: the same pairs and the same weights."""

import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

RUN = [
    "model=tiny", "variant=temporal", "iterations=1", "engine.block=4", "data.heldout=3",
    "train.dpo.checkpoint_steps=1",
]  # fmt: skip


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tsr.run", *RUN], cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def finish(folder: Path) -> str:
    process = start(folder)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    return out


def results(folder: Path) -> dict[str, str]:
    """Hash of every pair file and weight file, by stage."""
    files = [
        *folder.glob("store/stages/pair/*/pairs.jsonl"),
        *folder.glob("store/stages/generate/*/candidates.jsonl"),
        *folder.glob("store/stages/dpo/*/adapter/*.safetensors"),
    ]
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def resumed(folder: Path) -> list[bool]:
    """Of each stage, whether it went on from what a killed process had left."""
    records = folder.glob("store/stages/*/*/record.json")
    return [bool(json.loads(path.read_text())["resumed"]) for path in records]


def test_killed_at_random_moments_ends_as_undisturbed(tmp_path: Path) -> None:
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    straight.mkdir()
    killed.mkdir()
    began = time.monotonic()
    finish(straight)
    whole = time.monotonic() - began
    rng = random.Random(7)
    for _ in range(4):
        process = start(killed)
        time.sleep(rng.uniform(0.3, 0.9) * whole)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    finish(killed)
    assert any(resumed(killed)), "no kill landed inside a stage"
    wanted = results(straight)
    assert len(wanted) >= 7
    assert results(killed) == wanted


def test_two_processes_share_the_work(tmp_path: Path) -> None:
    first, second = start(tmp_path), start(tmp_path)
    outs = [process.communicate(timeout=300)[0] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], outs
    executed = [int(out.rsplit(" stages executed", 1)[0].rsplit("\n", 1)[1]) for out in outs]
    done = len(list(tmp_path.glob("store/stages/*/*/DONE")))
    assert sum(executed) == done
