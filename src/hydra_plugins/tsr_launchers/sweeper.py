"""`hydra/sweeper=tsr`: Hydra's basic sweeper, and lists that go together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override


@dataclass
class TsrSweeperConf(BasicSweeperConf):
    """What `hydra.sweeper` holds.

    zipped: mappings of key -> list. The lists of one mapping go together, row by row; mappings and
    `params` multiply.
    """

    _target_: str = "hydra_plugins.tsr_launchers.sweeper.TsrSweeper"
    zipped: list[dict[str, Any]] = field(default_factory=list)


ConfigStore.instance().store(group="hydra/sweeper", name="tsr", node=TsrSweeperConf, provider="tsr")


class TsrSweeper(BasicSweeper):
    """Expands a sweep as tsr.plan does, and refuses a wrong run before the first is launched."""

    def __init__(
        self,
        max_batch_size: int | None = None,
        params: dict[str, str] | None = None,
        zipped: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(max_batch_size, params)
        self.zipped = zipped

    def split_arguments(  # type: ignore[override]  # Hydra's is static, and called on an instance
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """The overrides of every run, in batches."""
        from tsr.expand import expand

        runs = expand(overrides, self.zipped)
        return list(self.split_overrides_to_chunks(runs, max_batch_size))

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Compose and check every run. Raises Hydra's errors, or Refused."""
        from tsr.compose import compose_jobs

        assert self.hydra_context is not None
        assert self.config is not None
        compose_jobs(self.hydra_context.config_loader, self.config, batch)
