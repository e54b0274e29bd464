"""What SLURM knows of jobs, asked with its own commands."""

import hashlib
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tsr.stage import Stage

# A job that is in one of these may still do its work; any other state is an end.
LIVE: Final = (
    "PENDING",
    "RUNNING",
    "CONFIGURING",
    "COMPLETING",
    "REQUEUED",
    "SUSPENDED",
    "RESIZING",
)
PATIENCE_S: Final = 60.0
UNKNOWN: Final = "UNKNOWN"
NEVER: Final = "DependencyNeverSatisfied"


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
        return self.state in LIVE and self.state != "COMPLETING" and self.reason != NEVER

    @property
    def array(self) -> str:
        """The id of the array that it is a task of; its own, where it is none."""
        return self.job.partition("_")[0]


def command(*words: str) -> str:
    """Run one of SLURM's commands. Raises NoSlurm, or SlurmError with what it printed."""
    if shutil.which(words[0]) is None:
        raise NoSlurm(
            f"no SLURM on this machine: {words[0]} is not found. Run this on a login node of the "
            "cluster, or use hydra/launcher=local"
        )
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
    except subprocess.TimeoutExpired as error:
        raise SlurmError(f"{words[0]}: no answer in {PATIENCE_S:.0f} s") from error
    if done.returncode:
        raise SlurmError(f"{words[0]}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def queued() -> list[Job]:
    """Every job in the queue, pending or running, of all users that this one may see."""
    lines = command("squeue", "-h", "-r", "-o", "%i|%T|%r|%N|%j").splitlines()
    found = [Job(*line.split("|", 4)) for line in lines if line.count("|") >= 4]
    return [job for job in found if job.state in LIVE]


def ended(ids: Iterable[str]) -> dict[str, Job]:
    """Jobs by their ids, as accounting has them. Raises SlurmError where there is none."""
    asked = ",".join(ids)
    if not asked:
        return {}
    fields = "JobID,State,ExitCode,NodeList,JobName"
    lines = command("sacct", "-n", "-P", "-X", "-j", asked, "-o", fields).splitlines()
    found = [Job(*line.split("|", 4)) for line in lines if line.count("|") >= 4]
    return {job.job: job for job in found}


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
