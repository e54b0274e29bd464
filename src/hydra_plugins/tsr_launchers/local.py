"""`hydra/launcher=local`: a sweep's runs in one process, the work that they share done once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class LocalLauncherConf:
    """What `hydra.launcher` holds."""

    _target_: str = "hydra_plugins.tsr_launchers.local.LocalLauncher"


ConfigStore.instance().store(
    group="hydra/launcher", name="local", node=LocalLauncherConf, provider="tsr"
)


class LocalLauncher(Launcher):
    """Composes every run of the sweep before any of them starts."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what composing needs."""
        self.loader, self.config = hydra_context.config_loader, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the sweep; one completed return per run."""
        from tsr.compose import to_run_config
        from tsr.sweep import run_all

        configs = [self.loader.load_sweep_config(self.config, list(o)) for o in job_overrides]
        results = run_all([to_run_config(config) for config in configs])
        returned = zip(configs, job_overrides, results, strict=True)
        return [self._returned(config, o, result) for config, o, result in returned]

    def _returned(self, config: DictConfig, overrides: Sequence[str], result: Any) -> JobReturn:
        done = JobReturn(overrides=overrides, cfg=config, hydra_cfg=config)
        done.status, done.return_value = JobStatus.COMPLETED, result
        return done
