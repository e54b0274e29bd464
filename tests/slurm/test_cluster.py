"""The cluster of the other tests does what a real one does, failures included."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slurm import cluster as program
from slurm.cluster import Cluster

pytestmark = pytest.mark.slurm


def submit(cluster: Cluster, folder: Path, what: str, *options: str) -> str:
    """The id of a job that runs a shell line, started by now."""
    out = folder / "%j.txt"
    line = cluster.run("sbatch", "--parsable", "-o", str(out), *options, "--wrap", what)
    return line.strip()


def state(cluster: Cluster, job: str) -> str:
    return cluster.run("squeue", "-h", "-t", "all", "-j", job, "-o", "%T").strip()


def until(cluster: Cluster, job: str, wanted: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while (now := state(cluster, job)) != wanted:
        assert time.monotonic() < deadline, f"job {job} is {now}, not {wanted}"
        time.sleep(0.2)


def test_a_job_runs_and_is_accounted(cluster: Cluster, tmp_path: Path) -> None:
    job = submit(cluster, tmp_path, "echo $SLURM_JOB_ID on $SLURMD_NODENAME", "--wait")
    assert (tmp_path / f"{job}.txt").read_text() in (f"{job} on n1\n", f"{job} on n2\n")
    accounted = ["sacct", "-nXPj", job, "-o", "jobid,state,exitcode"]
    deadline = time.monotonic() + 20
    while (told := cluster.run(*accounted).strip()) != f"{job}|COMPLETED|0:0":
        assert time.monotonic() < deadline, told
        time.sleep(0.2)


def test_two_slots_and_a_queue(cluster: Cluster, tmp_path: Path) -> None:
    jobs = [submit(cluster, tmp_path, "sleep 300") for _ in range(3)]
    for job in jobs[:2]:
        until(cluster, job, "RUNNING")
    assert state(cluster, jobs[2]) == "PENDING"


def test_a_node_that_dies_is_noticed_and_its_job_starts_again(
    cluster: Cluster, tmp_path: Path
) -> None:
    job = submit(cluster, tmp_path, f"echo $SLURMD_NODENAME >> {tmp_path}/nodes; sleep 300")
    until(cluster, job, "RUNNING")
    node = cluster.run("squeue", "-h", "-j", job, "-o", "%N").strip()
    cluster.kill_slurmd(node)
    cluster.wait_node(node, "down")
    until(cluster, job, "RUNNING")
    other = cluster.run("squeue", "-h", "-j", job, "-o", "%N").strip()
    assert other != node
    cluster.start_slurmd(node)
    cluster.wait_node(node, "idle")


def test_a_node_declared_down_and_resumed(cluster: Cluster) -> None:
    cluster.node_down("n2")
    cluster.wait_node("n2", "down")
    cluster.node_resume("n2")
    cluster.wait_idle()


def test_jobs_outlive_the_controller(cluster: Cluster, tmp_path: Path) -> None:
    job = submit(cluster, tmp_path, "sleep 8")
    until(cluster, job, "RUNNING")
    time.sleep(6)  # it writes down what it knows every five seconds
    cluster.kill_controller()
    cluster.start_controller()
    until(cluster, job, "COMPLETED")


def test_a_job_that_is_preempted_is_told_first(cluster: Cluster, tmp_path: Path) -> None:
    told = tmp_path / "told"
    script = f"trap 'echo told >> {told}; exit 0' USR2; while :; do sleep 0.2; done"
    options = ["-p", "low", "-N", "2", "--signal=B:USR2@60"]
    low = submit(cluster, tmp_path, script, *options)
    until(cluster, low, "RUNNING")
    time.sleep(1)  # the shell sets its trap
    high = submit(cluster, tmp_path, "sleep 1", "-p", "high")
    until(cluster, high, "COMPLETED")
    assert told.read_text() == "told\n"


def test_up_and_down_by_the_command_line(tmp_path: Path) -> None:
    def call(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, program.__file__, *args]
        env = {k: v for k, v in os.environ.items() if k != "SLURM_CONF"}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    folder = str(tmp_path / "c")
    up = call("up", folder, "--nodes", "1", "--cpus", "2", "--gpus", "2")
    assert up.returncode == 0, up.stderr
    assert up.stdout == f"export SLURM_CONF={folder}/slurm.conf\n"
    mine = Cluster(Path(folder), nodes=1)
    pids = {path.stem: path.read_text() for path in mine.folder.glob("run/*.pid")}
    assert call("up", folder, "--nodes", "1", "--cpus", "2", "--gpus", "2").returncode == 0
    assert {path.stem: path.read_text() for path in mine.folder.glob("run/*.pid")} == pids
    job = submit(mine, tmp_path, "echo $CUDA_VISIBLE_DEVICES", "--gpus=2", "--wait")
    assert (tmp_path / f"{job}.txt").read_text() == "0,1\n"
    last = submit(mine, tmp_path, f"echo $$ > {tmp_path}/pid; sleep 300")
    until(mine, last, "RUNNING")
    assert call("down", folder, "--wipe").returncode == 0
    assert not mine.folder.exists()
    for line in (*pids.values(), (tmp_path / "pid").read_text()):
        assert program.start_of(int(line.split()[0])) is None
    assert call("down", folder).returncode == 0, "there is nothing left to stop"


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(program, "NEEDED", ("sbatch", "no-such-program"))
    with pytest.raises(program.ClusterError, match=r"needs no-such-program: apt-get install"):
        Cluster(tmp_path).up()
