"""What both launchers share: every run of a sweep is composed before any of them starts."""

from collections.abc import Sequence

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from tsr.config import RunConfig


class SweepLauncher(Launcher):
    """Has the whole sweep at once; what is done with it is its subclasses' `launch`."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what composing needs."""
        self.loader, self.config = hydra_context.config_loader, config

    def _compose(self, job_overrides: Sequence[Sequence[str]]) -> list[RunConfig]:
        from tsr.compose import compose_jobs

        return compose_jobs(self.loader, self.config, job_overrides)

    def _returned(
        self, overrides: Sequence[str], config: RunConfig, result: object = None
    ) -> JobReturn:
        """A completed return, as Hydra wants one for each run."""
        done = JobReturn(overrides=overrides, cfg=OmegaConf.structured(config))
        done.hydra_cfg, done.status, done.return_value = self.config, JobStatus.COMPLETED, result
        return done
