"""A sweep as a graph of jobs: each stage once, no place held for waiting, the local results."""

import json
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest

from slurm.cluster import Cluster
from slurm.sweeping import (
    SLURM,
    THREE,
    TINY,
    WAIT,
    accounting,
    command,
    held,
    of_kind,
    queue,
    records,
    results,
    states,
    tsr,
    until,
)
from tsr.executors.slurm.queue import ended

pytestmark = pytest.mark.slurm


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same sweep by the local launcher."""
    folder = tmp_path_factory.mktemp("local")
    tsr(folder, *THREE)
    return folder


@pytest.fixture(scope="module")
def done(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sweep of three variants, with two places, wandb offline."""
    folder = tmp_path_factory.mktemp("done")
    out = tsr(folder, *THREE, *WAIT, "tracker=wandb")
    (folder / "out.txt").write_text(out)
    return folder


def test_every_stage_ran_once_and_gave_what_it_gives_locally(done: Path, local: Path) -> None:
    jobs = accounting("JobName", "State", "JobID", folder=done)
    ids = {record["slurm_job"] for record in records(done)}
    ours = [job for job in jobs if job["JobID"] in ids]
    assert len(records(done)) == len(records(local)) == len(ids) == len(ours)
    assert {job["State"] for job in ours} == {"COMPLETED"}
    assert set(Counter(job["JobName"] for job in ours).values()) == {1}
    assert results(done) == results(local)


def test_no_job_began_before_what_it_waits_for_had_ended(done: Path) -> None:
    times = {j["JobID"]: j for j in accounting("JobID", "Start", "End", folder=done)}
    by_key = {record["key"]: times[record["slurm_job"]] for record in records(done)}
    (file,) = (done / "store" / "sweeps").glob("*.json")
    compared = 0
    for stage in json.loads(file.read_text())["stages"]:
        for key in stage["inputs"]:
            begun, ended = by_key[stage["key"]]["Start"], by_key[key]["End"]
            assert datetime.fromisoformat(begun) >= datetime.fromisoformat(ended)
            compared += 1
    assert compared > len(by_key)


def test_waiting_ends_with_the_comparison(done: Path, local: Path) -> None:
    out = (done / "out.txt").read_text()
    assert "Comparison, last model of each run" in out
    assert "python -m tsr.status" in out
    for name in ("self_rewarding", "past_only", "temporal"):
        ours, theirs = (next(f.glob(f"runs/{name}-*/metrics.jsonl")) for f in (done, local))
        assert ours.read_text() == theirs.read_text()


def test_each_run_is_one_complete_tracker_run(done: Path) -> None:
    runs = list(done.glob("runs/*-tiny*"))
    assert len(runs) == 3
    for run in runs:
        assert json.loads((run / "status.json").read_text())["state"] == "done"
        assert len(list(run.glob("wandb/offline-run-*"))) == 1
        assert (run / "final").exists()


def test_the_same_command_again_submits_nothing(done: Path) -> None:
    before = len(accounting("JobID", folder=done))
    assert before
    out = tsr(done, *THREE, *WAIT)
    assert "0 jobs submitted" in out
    assert "Comparison" in out
    assert len(accounting("JobID", folder=done)) == before


def test_status_tells_the_state_of_every_stage(done: Path) -> None:
    found = states(done)
    assert {s["state"] for s in found.values()} == {"done"}
    one = next(done.glob("runs/past_only-*")).name
    assert 0 < len(states(done, one)) < len(found)
    assert "55 stages: 55 done" in tsr(done, module="tsr.status")


def test_a_single_run_goes_to_the_cluster_too(cluster: Cluster, tmp_path: Path) -> None:
    out = tsr(tmp_path, *TINY, "iterations=1", "variant=self_rewarding", *WAIT)
    assert "1 run(s)" in out
    assert all(record["slurm_job"] for record in records(tmp_path))


def test_shares_of_a_stage_give_what_one_worker_gives(cluster: Cluster, tmp_path: Path) -> None:
    small = (
        "model=tiny", "variant=self_rewarding", "iterations=1", "k=4", "engine.block=8",
        "data.prompts_per_iteration=12", "sampling.max_new_tokens=16",
    )  # fmt: skip
    one, split = tmp_path / "one", tmp_path / "split"
    one.mkdir()
    split.mkdir()
    tsr(one, *small)
    arrays = ("resources.slurm.generate.array=3", "resources.slurm.judge.array=2")
    tsr(split, *small, *WAIT, *arrays)
    assert results(split) == results(one)
    assert not list(split.glob("store/stages/share/*")), "they are of no use any more"
    names = Counter(job["JobName"] for job in accounting("JobName", folder=split))
    assert sorted(n for name, n in names.items() if "_shares-" in name) == [2, 3]


def test_k_after_k_takes_over_what_is_there(cluster: Cluster, tmp_path: Path) -> None:
    tsr(tmp_path, "-m", *TINY, "variant=self_rewarding", "iterations=1", "k=2,3,4", *WAIT)
    pools = [r["figures"] for r in records(tmp_path) if r["kind"] == "generate"]
    first = sorted((p["candidates"], p["units"]) for p in pools if p["candidates"] > 8)
    assert first == [(12, 12), (18, 6), (24, 6)], "six prompts; each sample made once"


def test_a_failed_stage_fails_its_job_and_what_needs_it_only(
    cluster: Cluster, tmp_path: Path
) -> None:
    bad = "train.dpo.max_prompt_length=1"  # every pair has a longer prompt
    words = ("-m", *TINY, "iterations=1", "variant=self_rewarding,past_only", bad)
    out = tsr(tmp_path, *words, *WAIT, code=1)
    assert "raise train.dpo.max_prompt_length" in out
    failed = of_kind(tmp_path, "dpo")
    assert [s["state"] for s in failed] == ["failed", "failed"]
    assert "NoPairs" in failed[0]["detail"]
    assert "NoPairs" in failed[0]["log"][-1]
    ends = {j["JobID"]: j for j in accounting("JobID", "State", "ExitCode", folder=tmp_path)}
    assert {(ends[s["job"]]["State"], ends[s["job"]]["ExitCode"]) for s in failed} == {
        ("FAILED", "1:0")
    }
    never = of_kind(tmp_path, "diagnose")
    assert {s["state"] for s in never} == {"never"}
    assert "dpo" in never[0]["detail"]
    assert {job.state.split()[0] for job in ended(s["job"] for s in never).values()} == {
        "CANCELLED"
    }
    assert {s["state"] for s in of_kind(tmp_path, "pair")} == {"done"}
    status = json.loads(next(tmp_path.glob("runs/past_only-*/status.json")).read_text())
    assert status["state"] == "failed"
    assert "NoPairs" in status["failures"][0]["error"]
    # It fails every time: it is tried once a command, not for ever.
    again = tsr(tmp_path, *words, *WAIT, code=1)
    assert "NoPairs" in again


def test_two_users_who_submit_at_once_share_the_jobs(cluster: Cluster, tmp_path: Path) -> None:
    words = ("-m", *TINY, "variant=self_rewarding,past_only", SLURM)
    both = [command(tmp_path, *words, f"runs=runs{user}") for user in (1, 2)]
    outs = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    new = sorted(int(out.split(" jobs submitted")[0].split()[-1]) for out in outs)
    until(lambda: not queue(), "the end of all jobs", 300)
    assert new[0] < new[1]
    assert {s["state"] for s in states(tmp_path).values()} == {"done"}
    made = Counter(record["key"] for record in records(tmp_path))
    ids = {record["slurm_job"] for record in records(tmp_path)}
    jobs = accounting("JobName", "JobID", folder=tmp_path)
    assert len({job["JobName"] for job in jobs if job["JobID"] in ids}) == len(made)
    assert sum(new) == len(made) or new[0] == 0, "what one has in the queue, none submits again"
    for user in (1, 2):
        runs = list(tmp_path.glob(f"runs{user}/*/status.json"))
        assert [json.loads(run.read_text())["state"] for run in runs] == ["done", "done"]


def test_cancel_takes_the_jobs_out_and_the_command_goes_on(
    cluster: Cluster, tmp_path: Path
) -> None:
    words = ("-m", *TINY, "variant=self_rewarding", "iterations=1", SLURM)
    with held(cluster):
        out = tsr(tmp_path, *words)
        waiting = states(tmp_path)
        assert {s["state"] for s in waiting.values()} == {"pending"}
        assert "jobs cancelled" in tsr(tmp_path, module="tsr.cancel")
        until(lambda: not queue(), "an empty queue")
    assert {s["state"] for s in states(tmp_path).values()} == {"cancelled"}
    assert out.split(" jobs submitted")[0].split()[-1] == str(len(waiting))
    tsr(tmp_path, *words, "hydra.launcher.wait=true")
    assert {s["state"] for s in states(tmp_path).values()} == {"done"}


def test_submitting_returns_at_once(cluster: Cluster, tmp_path: Path) -> None:
    began = time.monotonic()
    tsr(tmp_path, "-m", *TINY, "variant=self_rewarding,past_only", SLURM)
    assert queue(), f"returned after {time.monotonic() - began:.1f} s, with jobs still to run"
