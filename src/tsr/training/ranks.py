"""What the processes of a training say to each other; in a process alone nothing is said.

Collective: every process must call the same functions in the same order.
"""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

T = TypeVar("T")


def world() -> int:
    """How many processes there are."""
    return int(os.environ["WORLD_SIZE"]) if "LOCAL_RANK" in os.environ else 1


def rank() -> int:
    """Which of them this is; 0 writes all files that are not shards."""
    return int(os.environ["RANK"]) if "LOCAL_RANK" in os.environ else 0


def strategy() -> str:
    """See resources.training.strategy; as tsr.training.launch has set it."""
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":
        return "fsdp"
    return "zero3" if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true" else "ddp"


def barrier() -> None:
    """Wait until every process is here."""
    if world() > 1:
        dist.barrier()


def any_of(here: bool) -> bool:
    """Whether it is so in at least one process."""
    if world() == 1:
        return here
    anywhere = torch.tensor([float(here)], device=PartialState().device)
    dist.all_reduce(anywhere, dist.ReduceOp.MAX)
    return bool(anywhere.item())


def from_first(make: Callable[[], T]) -> T:
    """What rank 0 makes, in every process."""
    made: list[Any] = [make() if rank() == 0 else None]
    if world() > 1:
        broadcast_object_list(made, from_process=0)
    found: T = made[0]
    return found
