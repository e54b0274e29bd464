"""The real 135M model from end to end: minutes, so only in `make test-slow`."""

import hashlib
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_resume import resumed
from test_training import Bench, pairs

pytestmark = [pytest.mark.long, pytest.mark.real]

RUN = [
    "variant=temporal", "iterations=1", "data.prompts_per_iteration=4", "k=2",
    "sampling.max_new_tokens=16", "train.dpo.checkpoint_steps=1", "train.dpo.batch_size=2",
    "train.dpo.micro_batch=2", "engine.block=4",
]  # fmt: skip


def run(folder: Path, kill_after: float | None = None) -> float:
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "tsr.run", *RUN], cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        out, _ = process.communicate(timeout=kill_after or 900)
        assert process.returncode == 0, out
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    return time.monotonic() - began


def results(folder: Path) -> dict[str, str]:
    files = [
        *folder.glob("store/stages/pair/*/pairs.jsonl"),
        *folder.glob("store/stages/dpo/*/adapter/*.safetensors"),
    ]
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_killed_and_resumed_ends_with_the_same_weights(tmp_path: Path) -> None:
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    straight.mkdir()
    killed.mkdir()
    whole = run(straight)
    rng = random.Random(1)
    for _ in range(3):
        run(killed, kill_after=rng.uniform(0.3, 0.8) * whole)
    run(killed)
    assert any(resumed(killed)), "no kill landed inside a stage"
    assert len(results(straight)) == 4
    assert results(killed) == results(straight)


def test_the_default_precision_lets_small_learning_rates_through(tmp_path: Path) -> None:
    """Full weights at 5e-6, where bf16-rounded weights hardly moved: the margin opens."""
    from tsr.config import DPOConfig
    from tsr.engines.base import ModelFiles
    from tsr.models import smollm2
    from tsr.training import dpo

    for name in ("base", "out"):
        (tmp_path / name).mkdir()
    smollm2.convert(tmp_path / "base")
    recipe = DPOConfig(
        learning_rate=5e-6, epochs=3, batch_size=4, micro_batch=4, precision="fp32", warmup=0.0,
        max_length=128, gradient_checkpointing=False, schedule="constant_with_warmup",
    )  # fmt: skip
    base = ModelFiles("base", tmp_path / "base")
    figures = dpo.train(Bench(tmp_path / "out"), base, base, pairs(4), recipe, 0)
    assert figures["first_loss"] == pytest.approx(0.6931, abs=1e-3)
    assert figures["margin"] > 0.05
