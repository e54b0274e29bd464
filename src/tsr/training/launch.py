"""How the processes of a training are started: `accelerate launch`, on each node of a job."""

import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from tsr.places import conf_folder
from tsr.settings import Refused
from tsr.workbench import Spread

WORKER = "tsr.training.worker"
PATIENCE_S = 10.0
# What an earlier launcher, or an engine in this process, may have left.
STRANGE = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def gpus() -> int:
    """How many GPUs this machine has for a training."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def check(spread: Spread, gpus: int) -> None:
    """Raise Refused for what cannot run on a machine with so many GPUs."""
    said = f"resources.training.strategy={spread.strategy}"
    if spread.strategy == "zero3" and find_spec("deepspeed") is None:
        raise Refused(f"{said}: DeepSpeed is not installed; pip install 'tsr[deepspeed]'")
    if spread.strategy != "ddp" and not gpus:
        raise Refused(f"{said}: accelerate shards on GPUs only, and there is none; ddp runs here")
    if gpus and spread.processes > gpus:
        raise Refused(f"resources.training.processes={spread.processes}: there are {gpus} GPUs")


def command(spread: Spread, folder: Path, precision: str, gpus: int) -> list[str]:
    """Starts the processes, on this machine or, with srun, on all nodes of the job.

    Without a GPU `accelerate launch` starts one process only; torch's own launcher starts them all.
    """
    # With "bf16" DeepSpeed would round the weights; see tsr.training.common.fitted.
    mixed = "bf16" if precision == "bf16" and spread.strategy != "zero3" else "no"
    launcher, options = (
        ("accelerate.commands.launch", _accelerate(spread, mixed))
        if gpus
        else ("torch.distributed.run", _torchrun(spread))
    )
    python = [sys.executable, "-m", launcher]
    rest = [*options, "-m", WORKER, str(folder)]
    return [*python, *rest] if spread.nodes == 1 else _on_nodes(spread.nodes, python, rest, gpus)


def _accelerate(spread: Spread, mixed: str) -> list[str]:
    host = {"main_process_ip": socket.gethostname(), "main_process_port": _port()}
    options = {
        "config_file": conf_folder() / "accelerate" / f"{spread.strategy}.yml",
        "num_processes": spread.total,
        "num_machines": spread.nodes,
        "mixed_precision": mixed,
        "num_cpu_threads_per_process": _threads(spread),
    } | (host if spread.nodes > 1 else {"main_process_port": 0, "machine_rank": 0})
    return [f"--{name}={value}" for name, value in options.items()]


def _torchrun(spread: Spread) -> list[str]:
    each = f"--nproc_per_node={spread.processes}"
    if spread.nodes == 1:
        return [each, "--standalone"]
    host = [f"--master_addr={socket.gethostname()}", f"--master_port={_port()}"]
    return [each, f"--nnodes={spread.nodes}", *host]


def _on_nodes(nodes: int, python: Sequence[str], rest: Sequence[str], gpus: int) -> list[str]:
    """One launcher a node; which one it is, only the node knows. The first one is this machine."""
    rank = "--machine_rank" if gpus else "--node_rank"
    line = f'exec {shlex.join(python)} {rank}="$SLURM_NODEID" {shlex.join(rest)}'
    options = {"nodes": nodes, "ntasks": nodes, "ntasks-per-node": 1, "kill-on-bad-exit": 1}
    # srun does not ask for the job's CPUs by itself.
    cpus = os.environ.get("SLURM_CPUS_PER_TASK") or os.environ.get("SLURM_CPUS_ON_NODE")
    if cpus:
        options["cpus-per-task"] = int(cpus)
    # The step that this process may run in has the same CPUs.
    asked = ["--overlap", *(f"--{name}={value}" for name, value in options.items())]
    return ["srun", *asked, "bash", "-c", line]


def environment(spread: Spread, precision: str, gpus: int) -> dict[str, str]:
    """The variables of the processes."""
    own = {name: value for name, value in os.environ.items() if name not in STRANGE}
    own |= {"PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}
    own.setdefault("OMP_NUM_THREADS", str(_threads(spread)))
    if not gpus:
        own["ACCELERATE_USE_CPU"] = "true"
        own["ACCELERATE_MIXED_PRECISION"] = "bf16" if precision == "bf16" else "no"
    return own


@contextmanager
def started(
    command: Sequence[str], environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command, its output in a pipe. It ends with the block and with this process."""
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "tsr.training.leash", str(os.getpid()), *command],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Let the launcher end what it started, here and on other nodes; then end it for certain."""
    with suppress(subprocess.TimeoutExpired):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(PATIENCE_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _threads(spread: Spread) -> int:
    return max(1, len(os.sched_getaffinity(0)) // spread.processes)


def _port() -> int:
    """The same on all nodes of a job, and another one in another job that shares a node."""
    return 20_000 + int(os.environ.get("SLURM_JOB_ID", "0")) % 10_000
