"""`hydra/launcher=slurm`: a sweep as one graph of SLURM jobs."""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn

from hydra_plugins.tsr_launchers.base import SweepLauncher


@dataclass
class SlurmLauncherConf:
    """What `hydra.launcher` holds.

    wait: stay until all jobs have ended, and end with the comparison. poll_s: how often to look.
    """

    _target_: str = "hydra_plugins.tsr_launchers.slurm.SlurmLauncher"
    wait: bool = False
    poll_s: float = 5.0


ConfigStore.instance().store(
    group="hydra/launcher", name="slurm", node=SlurmLauncherConf, provider="tsr"
)


class SlurmLauncher(SweepLauncher):
    """Submits what is missing and returns; see tsr.executors.slurm."""

    def __init__(self, wait: bool, poll_s: float) -> None:
        self.wait, self.poll_s = wait, poll_s

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Submit the sweep; one completed return per run: it is given away, not done."""
        from tsr.fanout.launch import launch

        configs = self._compose(job_overrides)
        launch(configs, self.wait, self.poll_s)
        return [self._returned(o, c) for o, c in zip(job_overrides, configs, strict=True)]
