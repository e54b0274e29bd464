"""What SLURM knows of jobs, asked with its own commands."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tsr.stage import Stage

# A job in one of these has come to its end; in any other state it may still do its work.
OVER: Final = (
    "COMPLETED",
    "FAILED",
    "CANCELLED",
    "TIMEOUT",
    "OUT_OF_MEMORY",
    "NODE_FAIL",
    "PREEMPTED",
    "BOOT_FAIL",
    "DEADLINE",
    "REVOKED",
)
PATIENCE_S: Final = 60.0
UNKNOWN: Final = "UNKNOWN"
NEVER: Final = "DependencyNeverSatisfied"
RECORD: Final = "record-"  # what the names of jobs that write a run's folder begin with


class SlurmError(RuntimeError):
    """A command of SLURM's failed; the message is SLURM's own."""


class NoSlurm(SlurmError):
    """This machine has no SLURM."""


@dataclass(frozen=True)
class Job:
    """A job, or one task of an array, as `squeue` or `sacct` tell of it.

    job: its id, `12_3` for an array's task. reason: why it waits, or its exit code once it ended.
    """

    job: str
    state: str
    reason: str
    node: str
    name: str

    @property
    def useful(self) -> bool:
        """Whether it may still do its work; one that is completing has done what it could."""
        return self.state not in (*OVER, "COMPLETING") and self.reason != NEVER

    @property
    def array(self) -> str:
        """The id of the array that it is a task of; its own, where it is none."""
        return array_of(self.job)

    def of(self, tag: str) -> bool:
        """Whether it is one of a store's (see path_tag), and not another with an old one's id."""
        return self.name.endswith(f".{tag}") or self.name.startswith(RECORD)


def array_of(job: str) -> str:
    """The id of the array that a task is of (`12` of `12_3`); a job's own, where it is none."""
    return job.partition("_")[0]


def command(*words: str) -> str:
    """Run one of SLURM's commands. Raises NoSlurm, or SlurmError with what it printed."""
    if shutil.which(words[0]) is None:
        raise NoSlurm(
            f"no SLURM on this machine: {words[0]} is not found. Run this on a login node of the "
            "cluster, or use hydra/launcher=local"
        )
    # A user's SQUEUE_PARTITION and the like would hide jobs.
    env = {n: v for n, v in os.environ.items() if not n.startswith(("SQUEUE_", "SACCT_"))}
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=PATIENCE_S, env=env
        )
    except subprocess.TimeoutExpired as error:
        raise SlurmError(f"{words[0]}: no answer in {PATIENCE_S:.0f} s") from error
    if done.returncode:
        raise SlurmError(f"{words[0]}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def queued() -> list[Job]:
    """Every job in the queue, in hidden partitions too, of all users that this one may see."""
    lines = command("squeue", "-h", "-a", "-r", "-o", "%i|%T|%r|%N|%j").splitlines()
    found = [Job(*line.split("|", 4)) for line in lines if line.count("|") >= 4]
    return [job for job in found if job.state not in OVER]


def ended(ids: Iterable[str]) -> dict[str, Job]:
    """Jobs by their ids, as accounting has them. Raises SlurmError where there is none."""
    asked = list(ids)
    if not asked:
        return {}
    fields = "JobID,State,ExitCode,NodeList,JobName"
    words = ("sacct", "-n", "-P", "-X", "-j", ",".join(asked), "-o", fields)
    lines = command(*words).splitlines()
    found = {(j := Job(*line.split("|", 4))).job: j for line in lines if line.count("|") >= 4}
    # Tasks that never began are told of in one line: 12_[3-5].
    waited = {job.array: job for name, job in found.items() if "_[" in name}
    tasks = {i: waited[array_of(i)] for i in asked if array_of(i) in waited}
    return tasks | found


def state_of(job: str) -> str:
    """A job's state now: empty where SLURM knows it no more, UNKNOWN where it cannot be asked."""
    try:
        return command("squeue", "-h", "-j", job, "-o", "%T").strip()
    except SlurmError as error:
        return "" if "Invalid job id" in str(error) else UNKNOWN


def cancel(ids: Sequence[str]) -> None:
    """Cancel jobs; those that have ended meanwhile are passed over."""
    if ids:
        command("scancel", "--quiet", *ids)


def path_tag(path: Path) -> str:
    """Tells the jobs of one store from those of another on the same cluster."""
    return hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:6]


def name_of(stage: Stage, tag: str) -> str:
    """A job's name: what is made, so that the queue itself tells which stages are in it."""
    return f"{stage.kind}-{stage.key[:12]}.{tag}"
