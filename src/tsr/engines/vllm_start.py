"""How a vLLM engine is started, on a CPU and on GPUs."""

import gc
import logging
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tsr.config import EngineConfig
from tsr.engines.base import EngineError
from tsr.resources import ResourcesConfig

WORKER = "tsr.engines.vllm_worker.Weights"
DTYPES = {"bf16": "bfloat16", "fp32": "float32"}
# Variables that were set here, for an earlier engine of this process.
_OURS: set[str] = set()
# Tokens of a block of the prefix cache: the fewest that the CPU's attention takes. vLLM's default
# of 128 is longer than most prompts, which are then read once for each of their samples.
CPU_BLOCK = 32
SMALLEST_STEP = 2048  # tokens
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


def require() -> None:
    """Raise EngineError where vLLM is not installed."""
    if find_spec("vllm") is None:
        raise EngineError(
            "engine=vllm: vLLM is not installed. On a GPU machine: pip install 'tsr[vllm]'; on a "
            "CPU: make vllm; or choose engine=transformers"
        )


def check_device(config: EngineConfig) -> None:
    """Raise EngineError for a device that vLLM cannot be told to take."""
    import torch

    wrong = {"cpu": torch.cuda.is_available(), "cuda": not torch.cuda.is_available()}
    if wrong.get(config.device, config.device != "auto"):
        raise EngineError(
            f"engine.device={config.device}: vLLM takes the device that it is built for; "
            "engine.device=auto, and CUDA_VISIBLE_DEVICES says which GPU"
        )


def on_gpu(config: EngineConfig) -> bool:
    """Whether the engine's device is a GPU."""
    if config.device != "auto":
        return config.device != "cpu"
    import torch

    return torch.cuda.is_available()


def choice(value: str, config: EngineConfig, *, cpu: str, gpu: str) -> str:
    """What `auto` means on the engine's device."""
    return value if value != "auto" else gpu if on_gpu(config) else cpu


def start(config: EngineConfig, resources: ResourcesConfig, base: Path, trusted: bool) -> Any:
    """A vllm.LLM with the checkpoint loaded, in this process."""
    _environment(config)
    # It says at its import that a CPU has no Triton.
    logging.getLogger("vllm.triton_utils").setLevel(logging.ERROR)
    from vllm import LLM

    arguments = _common(config, resources) | (
        _gpu(config, resources) if on_gpu(config) else _cpu(config, base)
    )
    try:
        return LLM(str(base), trust_remote_code=trusted, **arguments)
    except (RuntimeError, ValueError) as error:
        raise EngineError(
            f"vLLM could not be started with {base} ({error}); resources.gpu_memory, "
            "engine.context and engine.vllm.* are what usually helps"
        ) from error


def give_back() -> None:
    """What an engine leaves in this process when nothing refers to it any more."""
    from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

    cleanup_dist_env_and_memory()
    gc.collect()


def _environment(config: EngineConfig) -> None:
    """vLLM reads much from the environment; what a user has set there stays."""
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    wanted = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_CPU_OMP_THREADS_BIND": cores,  # vLLM's own default takes one core only
        "VLLM_CPU_KVCACHE_SPACE": str(config.vllm.kv_cache_gib),
    }
    for name, value in wanted.items():
        if name not in os.environ or name in _OURS:
            _OURS.add(name)
            os.environ[name] = value


def _common(config: EngineConfig, resources: ResourcesConfig) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "dtype": DTYPES[config.dtype],
        "max_model_len": config.context,
        "max_num_seqs": config.batch_size,
        "enforce_eager": choice(config.vllm.compile, config, cpu="no", gpu="yes") == "no",
        "enable_prefix_caching": True,
        "skip_tokenizer_init": True,  # ours makes the prompts, and gives what ends a turn
        "generation_config": "vllm",
        "worker_extension_cls": WORKER,
        "tensor_parallel_size": resources.tensor_parallel,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }
    if serves_adapters(config):
        rank = min(r for r in RANKS if r >= config.vllm.max_lora_rank)
        adapters = config.vllm.adapters
        arguments |= {"enable_lora": True, "max_loras": adapters, "max_lora_rank": rank}
    return arguments


def serves_adapters(config: EngineConfig) -> bool:
    """Whether adapters stay adapters; otherwise they are merged and pushed."""
    return choice(config.vllm.serve, config, cpu="weights", gpu="adapters") == "adapters"


def _cpu(config: EngineConfig, base: Path) -> dict[str, Any]:
    """On a CPU vLLM cannot seed a request whose prompt it reads in several steps: none is split.

    A step must then have room for the longest prompt. It gets no more: larger steps are slower,
    since what one layer hands to the next no longer fits the processor's cache.
    """
    from transformers import AutoConfig

    known = AutoConfig.from_pretrained(base, local_files_only=True).get_text_config()
    longest = config.context or int(known.max_position_embeddings)
    step = max(longest, SMALLEST_STEP)
    return {
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": step,
        "block_size": CPU_BLOCK,
    }


def _gpu(config: EngineConfig, resources: ResourcesConfig) -> dict[str, Any]:
    sleeps = choice(config.vllm.between, config, cpu="stay", gpu="sleep") == "sleep"
    return {"gpu_memory_utilization": resources.gpu_memory, "enable_sleep_mode": sleeps}
