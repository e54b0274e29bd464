"""What the tests of sweeps on SLURM share: commands as a user gives them, and what they leave."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slurm.cluster import Cluster

TINY = ("model=tiny", "engine=scripted", "data.heldout=4", "eval.samples=1", "k=3")
THREE = ("-m", *TINY, "variant=self_rewarding,past_only,temporal")
SLURM = "hydra/launcher=slurm"
WAIT = (SLURM, "hydra.launcher.wait=true", "hydra.launcher.poll_s=1")
ARTIFACTS = ("candidates.jsonl", "judgements.jsonl", "pairs.jsonl", "adapter_model.safetensors")


def command(folder: Path, *words: str, module: str = "tsr.run") -> subprocess.Popen[str]:
    """Start a command of tsr's in a folder, where store/ and runs/ then lie."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "160"},
    )


def tsr(folder: Path, *words: str, module: str = "tsr.run", code: int = 0) -> str:
    """What a command prints, errors included; it must end with this exit code."""
    process = command(folder, *words, module=module)
    out, err = process.communicate(timeout=600)
    assert process.returncode == code, f"{out[-4000:]}\n{err[-4000:]}"
    return out + err


def results(folder: Path) -> dict[str, str]:
    """Hashes of what was sampled, judged, paired and trained, by path in the store."""
    stages = folder / "store" / "stages"
    files = [path for name in ARTIFACTS for path in stages.glob(f"*/*/**/{name}")]
    return {str(p.relative_to(stages)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def records(folder: Path) -> list[dict[str, Any]]:
    """The record of every finished stage."""
    return [json.loads(p.read_text()) for p in folder.glob("store/stages/*/*/record.json")]


def states(folder: Path, *words: str) -> dict[str, dict[str, Any]]:
    """`tsr.status` by the kind and short key of the stages."""
    lines = tsr(folder, "--json", *words, module="tsr.status").splitlines()
    return {(s := json.loads(line))["stage"]["label"]: s for line in lines}


def of_kind(folder: Path, kind: str) -> list[dict[str, Any]]:
    """The states of all stages of a kind."""
    return [s for s in states(folder).values() if s["stage"]["kind"] == kind]


def accounting(*fields: str, folder: Path | None = None) -> list[dict[str, str]]:
    """Every try of every job that SLURM ever had, or of those submitted in a folder."""
    asked = (*fields, "WorkDir")
    words = ["sacct", "-n", "-P", "-X", "-D", "-S", "now-3hours", "-o", ",".join(asked)]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    jobs = [dict(zip(asked, line.split("|"), strict=True)) for line in lines]
    return [job for job in jobs if folder is None or job["WorkDir"] == str(folder)]


def queue(fmt: str = "%i", *words: str) -> list[str]:
    """A line for each job in the queue."""
    words = ("squeue", "-h", "-o", fmt, *words)
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()


@contextmanager
def held(cluster: Cluster) -> Iterator[None]:
    """Jobs are taken, but none begins before the block has ended."""
    cluster.run("scontrol", "update", "PartitionName=main", "State=DOWN")
    try:
        yield
    finally:
        cluster.run("scontrol", "update", "PartitionName=main", "State=UP")


def until(there: Callable[[], Any], what: str, seconds: float = 120.0) -> Any:
    """Wait for something to be so; returns it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = there()
        if found:
            return found
        time.sleep(0.3)
    raise AssertionError(f"waited {seconds:.0f} s for {what}")
