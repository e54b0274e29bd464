"""Killed, warned, preempted, cut off: jobs go on from what is saved, to the same results."""

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from slurm.cluster import Cluster
from slurm.sweeping import (
    SLURM,
    TINY,
    WAIT,
    accounting,
    command,
    held,
    queue,
    records,
    results,
    tsr,
    until,
)
from tsr.jsonl import read_jsonl
from tsr.status.states import State, states_of
from tsr.store import Store

pytestmark = pytest.mark.slurm

ONE = (*TINY, "iterations=1", "variant=self_rewarding")
TWO = ("-m", *TINY, "iterations=1", "variant=self_rewarding,past_only")
# A real model: some eight seconds of generation in 60 blocks, and as long a training, in which
# nothing but a warning makes a checkpoint.
REAL = (
    "model=tiny", "variant=self_rewarding", "iterations=1", "judge=verifier", "k=4",
    "data.prompts_per_iteration=120", "sampling.max_new_tokens=128", "engine.block=8",
    "train.dpo.batch_size=1", "train.dpo.micro_batch=1", "train.dpo.epochs=12",
    "train.dpo.learning_rate=1e-4", "train.dpo.checkpoint_steps=1000",
)  # fmt: skip


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The results of REAL, undisturbed, by the local launcher."""
    folder = tmp_path_factory.mktemp("straight")
    tsr(folder, *REAL)
    return results(folder)


def look(folder: Path) -> dict[str, State]:
    """What `tsr.status` tells, by kind of stage, where a sweep has one of each."""
    store = Store(folder / "store")
    return {s.stage.kind: s for s in states_of(store.sweeps.get(""), store)[0]}


def done_of(folder: Path, kind: str) -> int:
    """How much of a stage that is being made is there, as status tells it ("88/300, ...")."""
    detail = look(folder)[kind].detail
    return int(detail.split("/")[0]) if detail[:1].isdigit() else 0


def begun(folder: Path, kind: str) -> list[int]:
    """The same, of every unfinished stage of a kind."""
    files = folder.glob(f"store/stages/{kind}/.*.part-*/progress.json")
    return [done for file in files if (done := json.loads(file.read_text())["done"])]


def running(kind: str = "") -> list[tuple[str, str]]:
    """Jobs for stages whose Python runs just now, each with its node."""
    lines = [line.split() for line in queue("%A %N %j", "-t", "RUNNING")]
    jobs = [(j, n) for j, n, name in lines if name.startswith(kind) and "record-" not in name]
    return [(job, node) for job, node in jobs if processes(job)]


def processes(job: str) -> list[int]:
    """The Python processes of a job."""
    wanted, found = f"SLURM_JOB_ID={job}".encode(), []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            ours = wanted in (path / "environ").read_bytes().split(b"\0")
            if ours and b"submitit" in (path / "cmdline").read_bytes():
                found.append(int(path.name))
        except OSError:  # it has just ended
            continue
    return found


def killed() -> str:
    """Kill the work of a running job; the job's id, or nothing where there was none."""
    for job, _ in running():
        for process in processes(job):
            with suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(process, signal.SIGKILL)
                return job
    return ""


def tries(job: str) -> list[str]:
    """How a job's tries ended, in order."""
    return [j["State"].split()[0] for j in accounting("JobID", "State") if j["JobID"] == job]


def record(folder: Path, kind: str) -> dict[str, Any]:
    """The record of the one finished stage of a kind; empty before."""
    return next((r for r in records(folder) if r["kind"] == kind), {})


def log_of(folder: Path, kind: str) -> str:
    """All that the jobs of a kind wrote."""
    return "".join(p.read_text() for p in folder.glob(f"runs/slurm/*/{kind}-*/*_log.out"))


def leftovers(folder: Path) -> list[Path]:
    """What is unfinished, and claims that somebody is at work."""
    return [*folder.glob("store/stages/*/.*.part-*"), *folder.glob("store/claims/[!.]*")]


def end(seconds: float = 240) -> None:
    """Wait until the queue is empty."""
    until(lambda: not queue(), "the end of all jobs", seconds)


def of_generate(found: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in found.items() if name.startswith("generate")}


def test_one_disturbance_after_the_other(cluster: Cluster, tmp_path: Path) -> None:
    clear, folder = tmp_path / "clear", tmp_path / "disturbed"
    clear.mkdir()
    folder.mkdir()
    tsr(clear, *TWO)
    with held(cluster):
        first = command(folder, *TWO, SLURM)
        while len(list(folder.glob("store/jobs/*.json"))) < 3:
            assert first.poll() is None
            time.sleep(0.005)
        first.send_signal(signal.SIGKILL)
        first.communicate()
        time.sleep(1)  # an sbatch under way outlives who called it
        before = len(queue())
        assert 3 <= before < len(records(clear))
        out = tsr(folder, *TWO, SLURM)
        told = re.search(r"(\d+) jobs submitted, (\d+) in the queue already", out)
        assert told is not None
        new, there = map(int, told.groups())
        assert before - 1 <= there <= before, "the last one may have been torn"
        assert len(queue("%j")) == len(set(queue("%j"))), "no stage has two jobs"
        assert new + there == len(records(clear))

    # A node loses its power, and comes back. Meanwhile nothing else begins, or there might be
    # nothing left to disturb.
    job, node = until(running, "a running job")[0]
    with held(cluster):
        cluster.kill_slurmd(node)
        cluster.wait_node(node, "down")
        cluster.start_slurmd(node)
        cluster.wait_node(node, "idle")
        # The controller dies; it writes down what it knows every five seconds.
        time.sleep(6)
        cluster.kill_controller()
        cluster.start_controller()

    # A node is declared dead under a job. SLURM lets a requeued job wait for up to two minutes.
    job, node = until(running, "a running job", 300)[0]
    cluster.node_down(node)
    cluster.node_resume(node)

    # The work itself is killed, as for want of memory: what needs it is not tried.
    job = until(killed, "a running job", 300)
    end()
    assert tries(job)[-1] in ("FAILED", "OUT_OF_MEMORY")
    assert len(records(folder)) < len(records(clear))

    again = command(folder, *TWO, *WAIT)
    out, _ = again.communicate(timeout=300)
    if again.returncode != 0:
        out = tsr(folder, *TWO, *WAIT)
    store = Store(folder / "store")
    assert {s.state for s in states_of(store.sweeps.get(""), store)[0]} == {"done"}
    assert results(folder) == results(clear)
    assert not leftovers(folder)
    for run in folder.glob("runs/*/status.json"):
        assert json.loads(run.read_text())["state"] == "done"


def test_warnings_during_a_generation_and_a_training(
    cluster: Cluster, tmp_path: Path, straight: dict[str, str]
) -> None:
    tsr(tmp_path, *REAL, SLURM)
    kinds = ("generate", "dpo")
    for kind in kinds:
        until(lambda kind=kind: done_of(tmp_path, kind) > 5, f"{kind} to be in its midst")
        job = look(tmp_path)[kind].job
        cluster.run("scancel", "--signal=USR2", "--batch", job)
        until(lambda job=job: len(tries(job)) > 1, "another try of the job")
        until(lambda job=job: processes(job), "the next try's begin")
        # So early that nobody listens yet: this must not hurt.
        cluster.run("scancel", "--signal=USR2", "--batch", job)
    end()
    assert {s.state for s in look(tmp_path).values()} == {"done"}
    assert results(tmp_path) == straight
    assert not leftovers(tmp_path)
    for kind in kinds:
        job = record(tmp_path, kind)["slurm_job"]
        assert tries(job)[0] == "REQUEUED"
        assert tries(job)[-1] == "COMPLETED"
        assert record(tmp_path, kind)["resumed"]
        assert "USR2: saving, to go on later" in log_of(tmp_path, kind)
        assert "requeued: told to stop" in log_of(tmp_path, kind)
    (log,) = tmp_path.glob("store/stages/dpo/*/training.jsonl")
    steps = [row["step"] for row in read_jsonl(log)]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) > 100


def test_more_work_than_the_time_limit(cluster: Cluster, tmp_path: Path) -> None:
    # SLURM looks twice a minute, and so warns up to 30 s too early. Work for a minute and a half.
    long = (*REAL, "data.prompts_per_iteration=1200")
    limit = ("resources.slurm.generate.minutes=1", "resources.slurm.notice_s=5")
    tsr(tmp_path, *long, *limit, SLURM)
    job = look(tmp_path)["generate"].job
    until(lambda: len(tries(job)) > 1, "the limit, and another try", 300)
    cluster.run("scontrol", "update", f"JobId={job}", "TimeLimit=30")
    made = until(lambda: record(tmp_path, "generate"), "the candidates", 300)
    cluster.run("scancel", "-u", "root")
    end()
    assert made["resumed"]
    assert made["figures"]["candidates"] == 4800
    assert len(tries(job)) >= 2
    assert set(tries(job)[:-1]) == {"REQUEUED"}, "before the limit: else it would be TIMEOUT"
    assert "requeued: told to stop" in log_of(tmp_path, "generate")
    assert not leftovers(tmp_path)


def test_preemption_of_an_array(cluster: Cluster, tmp_path: Path, straight: dict[str, str]) -> None:
    low = ("resources.slurm.default.partition=low", "resources.slurm.generate.array=2")
    tsr(tmp_path, *REAL, *low, SLURM)
    until(lambda: len(begun(tmp_path, "share")) == 2, "two shares under way")
    cluster.run("sbatch", "-p", "high", "-N", "2", "-J", "urgent", "-o", "/dev/null",
                "--wrap", "sleep 3")  # fmt: skip
    until(lambda: "urgent R" in queue("%j %t"), "the urgent job's begin", 40)
    array = Store(tmp_path / "store").notes.get(look(tmp_path)["generate"].stage.key)
    assert array is not None
    made = until(lambda: record(tmp_path, "generate"), "the candidates")
    assert made["figures"]["candidates"] == 480
    cluster.run("scancel", "-u", "root")
    end()
    assert of_generate(results(tmp_path)) == of_generate(straight)
    for task in (0, 1):
        ends = tries(f"{array.shares_job}_{task}")
        assert ends[0] in ("REQUEUED", "PREEMPTED"), ends
        assert ends[-1] == "COMPLETED"
    assert log_of(tmp_path, "generate").count("requeued: told to stop") == 2
    assert not leftovers(tmp_path)


def test_a_lost_share_is_made_again_beside_the_others(
    cluster: Cluster, tmp_path: Path, straight: dict[str, str]
) -> None:
    words = (*REAL, "resources.slurm.generate.array=2", SLURM)
    tsr(tmp_path, *words)
    until(lambda: len(begun(tmp_path, "share")) == 2, "two shares under way")
    ids = dict(line.split() for line in queue("%i %A", "-t", "RUNNING"))
    lost, other = sorted(ids)
    cluster.run("scontrol", "suspend", other)
    os.kill(processes(ids[lost])[0], signal.SIGKILL)
    until(lambda: tries(lost) == ["FAILED"], "the end of one share")
    out = tsr(tmp_path, *words)
    assert "jobs submitted and 1 array(s) for their shares" in out
    cluster.run("scontrol", "resume", other)
    made = until(lambda: record(tmp_path, "generate"), "the candidates")
    assert made["figures"]["candidates"] == 480
    cluster.run("scancel", "-u", "root")
    end()
    assert of_generate(results(tmp_path)) == of_generate(straight)
    assert (tries(lost), tries(other)) == (["FAILED"], ["COMPLETED"])
    assert not leftovers(tmp_path)


def test_requeues_are_bounded(cluster: Cluster, tmp_path: Path) -> None:
    with held(cluster):
        tsr(tmp_path, *ONE, "resources.slurm.requeues=1", SLURM)
        prompts = look(tmp_path)["prompts"]
    job = prompts.job
    with at_work(tmp_path, prompts.stage.key):  # so that no try is done before it is requeued
        for again in (1, 2):
            until(lambda: queue("%t", "-j", job) == ["R"] and processes(job), "a running job")
            cluster.run("scontrol", "requeue", job)
            until(lambda again=again: len(tries(job)) > again, "another try of the job")
        until(lambda: "FAILED" in tries(job), "the last try")
    end()
    assert tries(job) == ["REQUEUED", "REQUEUED", "FAILED"]
    state = look(tmp_path)["prompts"]
    assert state.state == "failed"
    assert "requeued 2 times without finishing" in state.detail
    assert "raise resources.slurm.requeues" in state.detail
    assert look(tmp_path)["generate"].state == "never"


@contextmanager
def at_work(folder: Path, key: str) -> Iterator[None]:
    """Somebody else makes a stage."""
    with Store(folder / "store").exclusive(key, "somebody else's work"):
        yield


def test_a_job_whose_stage_somebody_else_makes_gives_its_place_back(
    cluster: Cluster, tmp_path: Path
) -> None:
    few = ("resources.slurm.patience_s=1", "resources.slurm.requeues=0")
    with held(cluster):
        tsr(tmp_path, *ONE, *few, SLURM)
        prompts = look(tmp_path)["prompts"]
    with at_work(tmp_path, prompts.stage.key):
        until(lambda: len(tries(prompts.job)) > 1, "another try of the job")
        until(lambda: queue("%t", "-j", prompts.job) == ["PD"], "its waiting in the queue")
    until(lambda: "COMPLETED" in tries(prompts.job), "its end")
    # Others' work is none of the job's own tries, of which it has but one. SLURM may have tried it
    # more than once meanwhile.
    *before, last = tries(prompts.job)
    assert (set(before), last) == ({"REQUEUED"}, "COMPLETED")
    assert look(tmp_path)["prompts"].state == "done"
    assert f"is being made by {os.uname().nodename}" in log_of(tmp_path, "prompts")


def test_a_job_that_is_cancelled_stays_so_until_the_command_comes_again(
    cluster: Cluster, tmp_path: Path, straight: dict[str, str]
) -> None:
    tsr(tmp_path, *REAL, SLURM)
    until(lambda: done_of(tmp_path, "generate") > 5, "a generation to be in its midst")
    job = look(tmp_path)["generate"].job
    cluster.run("scancel", job)
    end()
    assert tries(job) == ["CANCELLED"]
    found = look(tmp_path)
    assert found["generate"].state == "cancelled"
    assert {found[kind].state for kind in ("judge", "pair", "dpo")} <= {"cancelled", "never"}
    assert found["prompts"].state == "done"
    assert "the job was cancelled" in log_of(tmp_path, "generate")
    tsr(tmp_path, *REAL, SLURM)
    made = until(lambda: record(tmp_path, "generate"), "the candidates")
    assert made["resumed"]
    cluster.run("scancel", "-u", "root")
    end()
    assert of_generate(results(tmp_path)) == of_generate(straight)
