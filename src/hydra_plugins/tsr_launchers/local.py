"""`hydra/launcher=local`: a sweep's runs in one process, the work that they share done once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


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
        from tsr.compose import compose_jobs
        from tsr.sweep import run_all

        configs = compose_jobs(self.loader, self.config, job_overrides)
        returned = zip(configs, job_overrides, run_all(configs), strict=True)
        return [self._returned(config, o, result) for config, o, result in returned]

    def _returned(self, config: Any, overrides: Sequence[str], result: Any) -> JobReturn:
        cfg = OmegaConf.structured(config)
        done = JobReturn(overrides=overrides, cfg=cfg, hydra_cfg=self.config)
        done.status, done.return_value = JobStatus.COMPLETED, result
        return done
