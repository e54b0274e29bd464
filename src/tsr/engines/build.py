"""From an engine's config to the engine."""

from tsr.config import EngineConfig
from tsr.engines.base import Engine


def build_engine(config: EngineConfig) -> Engine:
    """The engine that a config names; nothing is loaded yet."""
    if config.name == "scripted":
        from tsr.engines.scripted import ScriptedEngine

        return ScriptedEngine()
    from tsr.engines.transformers_engine import TransformersEngine

    return TransformersEngine(
        dtype=config.dtype, batch_size=config.batch_size, device=config.device
    )
