"""The launchers of hydra-submitit-launcher: one job a run, the store shared between the jobs."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from slurm.cluster import Cluster

pytestmark = pytest.mark.slurm

RUNS = [
    "variant=self_rewarding,past_only",
    "iterations=1",
    "k=3",
    "data.heldout=4",
    "eval.samples=1",
]
TINY = ["model=tiny", "engine=scripted"]


def sweep(folder: Path, launcher: str, *overrides: str) -> subprocess.CompletedProcess[str]:
    """`python -m tsr.run -m`, with a store, runs and logs named after the launcher."""
    places = [f"store={launcher}/store", f"runs={launcher}/runs", f"hydra/launcher={launcher}"]
    if launcher != "local":
        logs = f"hydra.launcher.submitit_folder={launcher}/logs"
        places += [logs, "hydra.launcher.timeout_min=5"]
    command = [sys.executable, "-m", "tsr.run", "-m", *TINY, *places, *overrides]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=env, timeout=300
    )


@pytest.fixture(scope="module")
def in_one_process(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same sweep by tsr's own local launcher."""
    folder = tmp_path_factory.mktemp("local")
    done = sweep(folder, "local", *RUNS)
    assert done.returncode == 0, done.stderr
    return folder / "local"


def results(place: Path) -> dict[str, str]:
    """Pairs and metrics of every run by their paths."""
    runs = place / "runs"
    names = [*runs.glob("*/metrics.jsonl"), *runs.glob("*/pairs/*.jsonl")]
    return {str(path.relative_to(runs)): path.read_text() for path in names}


def records(store: Path) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in store.glob("stages/*/*/record.json")]


@pytest.mark.parametrize("launcher", ["submitit_slurm", "submitit_local"])
def test_one_job_a_run_and_every_stage_once(
    tmp_path: Path, launcher: str, in_one_process: Path
) -> None:
    done = sweep(tmp_path, launcher, *RUNS)
    assert done.returncode == 0, done.stderr
    place = tmp_path / launcher
    states = [json.loads(path.read_text()) for path in place.glob("runs/*/status.json")]
    assert [one["state"] for one in states] == ["done", "done"]
    assert results(place) == results(in_one_process)
    assert len(results(place)) == 2 + 2
    made_once(place / "store", in_one_process / "store")
    made_by_two_jobs(place / "store", slurm=launcher == "submitit_slurm")


def made_once(store: Path, other: Path) -> None:
    """The same stages as in the other store; each was executed by one worker, to its end."""
    lines = "".join(path.read_text() for path in store.glob("timings/*.jsonl")).splitlines()
    executed = Counter(json.loads(line)["key"] for line in lines if line)
    assert set(executed) == {record["key"] for record in records(other)}
    assert set(executed.values()) == {1}
    assert not list(store.glob("stages/*/.*")), "nothing is left unfinished"
    assert not list((store / "claims").iterdir())


def made_by_two_jobs(store: Path, slurm: bool) -> None:
    workers = {(record["pid"], record["slurm_job"]) for record in records(store)}
    assert len(workers) == 2
    assert all((job is not None) == slurm for _, job in workers)
    assert len({job for _, job in workers}) == (2 if slurm else 1)


def test_a_second_time_there_is_nothing_to_do(cluster: Cluster, tmp_path: Path) -> None:
    short = ["variant=self_rewarding", "iterations=1", "k=2"]
    assert sweep(tmp_path, "submitit_slurm", *short).returncode == 0
    assert sweep(tmp_path, "submitit_slurm", *short).returncode == 0
    logs = sorted((tmp_path / "submitit_slurm" / "logs").glob("*.out"))
    told = [path.read_text() for path in logs]
    assert sorted("0 stages executed" in text.splitlines() for text in told) == [False, True]


@pytest.mark.parametrize("launcher", ["submitit_slurm", "submitit_local"])
def test_a_run_that_fails_is_told_and_the_other_is_finished(tmp_path: Path, launcher: str) -> None:
    (tmp_path / "p.jsonl").write_text('{"prompt": "fine"}\n{"prompt": oops}\n')
    prompts = "data.prompts.path=p.jsonl", "data.prompts.kind=file,tasks"
    done = sweep(tmp_path, launcher, "variant=self_rewarding", "iterations=1", "k=2", *prompts)
    assert done.returncode == 1
    assert "p.jsonl:2: broken JSON" in done.stderr
    assert "data.prompts.kind=file" in done.stderr, "which run it was"
    assert "Traceback" not in done.stderr
    runs = (tmp_path / launcher / "runs").glob("*/status.json")
    assert sorted(json.loads(path.read_text())["state"] for path in runs) == ["done", "failed"]
    logs = (tmp_path / launcher / "logs").glob("*.err")
    assert any("broken JSON" in path.read_text() for path in logs)


NOTHING_CAME = [
    ("hydra.launcher.partition=nowhere", "invalid partition specified: nowhere"),
    ("hydra.launcher.setup=['exit 9']", "state: FAILED"),
]


@pytest.mark.parametrize(("override", "told"), NOTHING_CAME)
def test_jobs_that_do_not_start(cluster: Cluster, tmp_path: Path, override: str, told: str) -> None:
    done = sweep(tmp_path, "submitit_slurm", "variant=self_rewarding", "iterations=1", override)
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_setting_is_refused_by_the_job(tmp_path: Path) -> None:
    done = sweep(tmp_path, "submitit_local", "k=0")
    assert done.returncode == 2
    assert "k=0: must be >= 1" in done.stderr
    assert "Traceback" not in done.stderr
