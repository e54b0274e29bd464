"""From an engine's config to the engine."""

import os
from functools import partial

from tsr.config import EngineConfig
from tsr.engines.base import Engine, EngineError
from tsr.resources import ResourcesConfig


def build_engine(config: EngineConfig, resources: ResourcesConfig | None = None) -> Engine:
    """The engine that a config names; nothing is loaded yet. Raises EngineError, as for an extra
    that is not installed."""
    resources = resources or ResourcesConfig()
    if config.name == "scripted":
        from tsr.engines.scripted import ScriptedEngine

        return ScriptedEngine()
    if config.name == "vllm":
        return _vllm(config, resources)
    if config.name == "openai":
        return _openai(config)
    if config.name == "reward":
        from tsr.engines.reward_engine import RewardEngine

        return RewardEngine(config.dtype, config.batch_size, config.device, config.context)
    from tsr.engines.transformers_engine import TransformersEngine

    return TransformersEngine(
        config.dtype, config.batch_size, config.device, context=config.context
    )


def _vllm(config: EngineConfig, resources: ResourcesConfig) -> Engine:
    from tsr.engines import vllm_start
    from tsr.engines.process import ProcessEngine
    from tsr.engines.replicas import Replicas
    from tsr.engines.vllm_engine import VLLMEngine

    vllm_start.require()
    vllm_start.check_device(config)
    make = partial(VLLMEngine, config, resources)
    where = vllm_start.choice(config.vllm.process, config, cpu="inside", gpu="own")
    if resources.engines > 1:
        where = "own"  # vLLM's groups are a process's: one engine that ends would end the other
    ends = config.vllm.between == "end"
    if resources.data_parallel == 1:
        return make() if where == "inside" else ProcessEngine(make, ends=ends)
    environments = [_devices(copy, resources) for copy in range(resources.data_parallel)]
    return Replicas([ProcessEngine(make, environment, ends) for environment in environments])


def _devices(copy: int, resources: ResourcesConfig) -> dict[str, str]:
    """Each copy sees its own GPUs only, of those that this process sees."""
    import torch

    size = resources.tensor_parallel
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    known = visible.split(",") if visible else list(map(str, range(torch.cuda.device_count())))
    own = known[copy * size : (copy + 1) * size]
    if known and len(own) < size:
        raise EngineError(
            f"resources.tensor_parallel={size} x data_parallel={resources.data_parallel}: there "
            f"are {len(known)} GPUs"
        )
    return {"CUDA_VISIBLE_DEVICES": ",".join(own)} if known else {}


def _openai(config: EngineConfig) -> Engine:
    from tsr.engines.openai_engine import OpenAIEngine

    server = config.server
    return OpenAIEngine(
        server.url,
        served=server.served,
        key_env=server.key_env,
        concurrency=server.concurrency,
        timeout_s=server.timeout_s,
        retries=server.retries,
        context=config.context,
        prefill=config.prefill,
    )
