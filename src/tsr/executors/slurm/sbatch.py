"""What a job asks of SLURM, as submitit takes it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from tsr.resources import JobConfig, SlurmConfig

# A warning that comes before the Python process listens would end it, and the job as FAILED. Deaf
# to it, a job that is to be preempted is requeued by SLURM itself. Python overrides this later.
DEAF: Final = "trap '' USR2"

# Variables of sbatch's that go before what a script says, by what `parameters` calls the same.
SWAYS: Final = {
    "job_name": ("JOB_NAME",),
    "partition": ("PARTITION",),
    "gpus_per_node": ("GPUS", "GPUS_PER_NODE", "GPUS_PER_TASK"),
    "gres": ("GRES",),
    "mem": ("MEM_PER_NODE", "MEM_PER_CPU", "MEM_PER_GPU"),
    "time": ("TIMELIMIT",),
    "account": ("ACCOUNT",),
    "qos": ("QOS",),
    "constraint": ("CONSTRAINT",),
    "wckey": ("WCKEY",),
    "signal_delay_s": (
        "SIGNAL",
        "REQUEUE",
        "NO_REQUEUE",
        "OPEN_MODE",
        "ARRAY_INX",
        "OUTPUT",
        "ERROR",
    ),
}


@contextmanager
def unswayed(parameters: Mapping[str, Any]) -> Iterator[None]:
    """While the block lasts, a user's SBATCH_PARTITION and the like do not change what is set."""
    sways = [
        f"SBATCH_{name}" for of in SWAYS if parameters.get(of) is not None for name in SWAYS[of]
    ]
    before = {name: os.environ.pop(name) for name in sways if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)


def parameters(slurm: SlurmConfig, sort: str, name: str, dependency: str | None) -> dict[str, Any]:
    """The arguments of submitit's `update_parameters`, for a stage that is of a sort (Stage.job).

    The script becomes the Python process itself (`exec`, no srun): so it is that process which
    gets the warning signal, it may start srun for a training on several nodes, and its exit code
    is the job's.
    """
    job = slurm.of(sort)
    return {
        "job_name": name,
        "dependency": dependency,
        "partition": job.partition,
        "nodes": job.nodes or 1,
        "ntasks_per_node": 1,
        "gpus_per_node": job.gpus or None,
        "gres": job.gres,
        "cpus_per_task": job.cpus,
        "mem": None if job.memory_gb is None else f"{round(job.memory_gb * 1024)}M",
        "time": job.minutes,
        "account": job.account,
        "qos": job.qos,
        "constraint": job.constraint,
        "setup": [DEAF, *job.setup],
        "wckey": slurm.wckey,
        "signal_delay_s": slurm.notice_s,
        "stderr_to_stdout": True,
        "use_srun": False,
        "additional_parameters": _more(slurm, job),
    }


def _more(slurm: SlurmConfig, job: JobConfig) -> dict[str, Any]:
    ours = {
        "signal": f"B:USR2@{slurm.notice_s}",
        "kill-on-invalid-dep": "yes",
        "requeue": True,
        "open-mode": "append",
    }
    return ours | job.sbatch
