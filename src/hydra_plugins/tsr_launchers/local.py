"""`hydra/launcher=local`: a sweep's runs in one process, the work that they share done once."""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn

from hydra_plugins.tsr_launchers.base import SweepLauncher


@dataclass
class LocalLauncherConf:
    """What `hydra.launcher` holds."""

    _target_: str = "hydra_plugins.tsr_launchers.local.LocalLauncher"


ConfigStore.instance().store(
    group="hydra/launcher", name="local", node=LocalLauncherConf, provider="tsr"
)


class LocalLauncher(SweepLauncher):
    """Runs the stages of all runs one after the other; see tsr.sweep."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the sweep; one completed return per run."""
        from tsr.sweep import run_all

        configs = self._compose(job_overrides)
        done = zip(job_overrides, configs, run_all(configs), strict=True)
        return [self._returned(*one) for one in done]
