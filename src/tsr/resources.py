"""The schema of `resources`: what a machine or a cluster gives to the stages of a run.

Everything here is neutral: the same stage may be made with other resources.
"""

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any

from tsr.settings import Refused, Section, setting


@dataclass
class JobConfig(Section):
    """What SLURM is asked for, for one stage. Null or empty: as resources.slurm.default has it."""

    partition: str | None = setting(None, "Partition; null: the cluster's default.", neutral=True)
    gpus: int | None = setting(None, "GPUs per node; null: none asked for.", ge=0, neutral=True)
    gres: str | None = setting(
        None, "Generic resources as --gres has them, such as gpu:a100:1.", neutral=True
    )
    cpus: int | None = setting(None, "CPUs per node.", ge=1, neutral=True)
    memory_gb: float | None = setting(
        None, "Memory per node in GB; 0: all of the node.", ge=0, neutral=True
    )
    minutes: int | None = setting(
        None, "Time limit in minutes; null: the partition's.", ge=1, neutral=True
    )
    nodes: int | None = setting(
        None, "Nodes; more than one is for training (sft, dpo).", ge=1, neutral=True
    )
    account: str | None = setting(None, "Account to be charged.", neutral=True)
    qos: str | None = setting(None, "Quality of service.", neutral=True)
    constraint: str | None = setting(None, "Features that a node must have.", neutral=True)
    setup: list[str] = setting(
        help="Shell lines before the work, such as `module load cuda`.", factory=list, neutral=True
    )
    sbatch: dict[str, Any] = setting(
        help="Any other option of sbatch, such as {exclude: n7, mail-type: FAIL}.",
        factory=dict,
        neutral=True,
    )
    array: int | None = setting(
        None,
        "Array tasks that a stage is split over, by blocks of prompts; generate and judge only.",
        ge=1,
        neutral=True,
    )

    @property
    def all_gpus(self) -> int:
        """GPUs on all nodes, by gpus or by gres (`gpu:2`, `gpu:a100:2`)."""
        named = re.findall(r"(?:^|,)gpu(?::[^:,\d][^:,]*)?(?::(\d+))?", self.gres or "")
        return (self.gpus or sum(int(count or 1) for count in named)) * (self.nodes or 1)

    def over(self, default: "JobConfig") -> "JobConfig":
        """This one, with `default` where it says nothing; of `sbatch`, what either says."""
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        said = {name: value for name, value in own.items() if value not in (None, [], {})}
        return dataclasses.replace(default, **said | {"sbatch": default.sbatch | self.sbatch})


JOBS = ("light", "generate", "judge", "sft", "dpo", "diagnose")


@dataclass
class SlurmConfig(Section):
    """What each kind of stage asks of SLURM (hydra/launcher=slurm)."""

    default: JobConfig = field(default_factory=JobConfig)
    light: JobConfig = field(default_factory=JobConfig)
    generate: JobConfig = field(default_factory=JobConfig)
    judge: JobConfig = field(default_factory=JobConfig)
    sft: JobConfig = field(default_factory=JobConfig)
    dpo: JobConfig = field(default_factory=JobConfig)
    diagnose: JobConfig = field(default_factory=JobConfig)
    notice_s: int = setting(
        120,
        "How long before the time limit a job is told to save and be requeued, in seconds.",
        ge=1,
        neutral=True,
    )
    requeues: int = setting(
        20, "How often a job may be requeued before it counts as failed.", ge=0, neutral=True
    )
    patience_s: float = setting(
        90.0,
        "How long a job waits while somebody else makes its stage, before it gives its place back.",
        ge=0,
        neutral=True,
    )
    wckey: str | None = setting(
        None, "Workload characterisation key; many clusters reject any.", neutral=True
    )
    python: str | None = setting(
        None, "Command that starts Python on a node; null: the one in use here.", neutral=True
    )

    def of(self, job: str) -> JobConfig:
        """What stages of a sort (`Stage.job`) ask for, the default filled in."""
        return getattr(self, job).over(self.default) if job in JOBS else self.default

    def check(self, path: str = "") -> None:
        """See Section.check; arrays and nodes are for what can be split so."""
        super().check(path)
        for name in ("default", *JOBS):
            job: JobConfig = getattr(self, name)
            if job.minutes is not None and job.minutes * 60 <= self.notice_s:
                raise Refused(
                    f"{path}.{name}.minutes={job.minutes}: must be longer than {path}.notice_s="
                    f"{self.notice_s} seconds, or the job is told to stop as it starts"
                )
            if job.array is not None and name not in ("generate", "judge"):
                raise Refused(f"{path}.{name}.array={job.array}: only generate and judge split")
            if (job.nodes or 1) > 1 and name not in ("sft", "dpo"):
                raise Refused(f"{path}.{name}.nodes={job.nodes}: only sft and dpo use several")


@dataclass
class TrainingConfig(Section):
    """How a training is spread over processes (`accelerate launch`)."""

    processes: int = setting(
        1, "Processes per node, one a GPU; 1: inside the stage's own.", ge=1, neutral=True
    )
    strategy: str = setting(
        "ddp",
        "ddp: a whole model in each process; fsdp, zero3: sharded over all of them.",
        choices=("ddp", "fsdp", "zero3"),
        neutral=True,
    )


@dataclass
class ResourcesConfig(Section):
    """What a machine, or a cluster, has."""

    tensor_parallel: int = setting(
        1, "GPUs that one copy of a model is spread over.", ge=1, neutral=True
    )
    data_parallel: int = setting(
        1,
        "Copies of a model that share the work, each in a process of its own.",
        ge=1,
        neutral=True,
    )
    gpu_memory: float = setting(
        0.9, "Share of a GPU's memory that a vLLM engine takes.", gt=0, le=1, neutral=True
    )
    engines: int = setting(
        1,
        "Engines (policy, external judge) that may hold a model in memory at the same time.",
        ge=1,
        neutral=True,
    )
    training: TrainingConfig = field(default_factory=TrainingConfig)
    slurm: SlurmConfig = field(default_factory=SlurmConfig)

    def check(self, path: str = "") -> None:
        """See Section.check; where GPUs are asked for, they must be as many as are used."""
        super().check(path)
        engine, training = self.tensor_parallel * self.data_parallel, self.training.processes
        uses = {"generate": engine, "judge": engine, "sft": training, "dpo": training}
        for job, wanted in uses.items():
            gpus = self.slurm.of(job).gpus
            if gpus and wanted > gpus:
                what = (
                    "training.processes"
                    if job in ("sft", "dpo")
                    else "tensor_parallel x data_parallel"
                )
                raise Refused(
                    f"{path}.slurm.{job}.gpus={gpus}: must be at least {wanted}, which {what} use"
                )
