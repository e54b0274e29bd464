"""Composing many runs: what Hydra's own loader composes, each file read once.

Hydra reads every file anew for every run, which takes a tenth of a second. Here a file is read and
put in its place once, files are merged once for each set of group choices, and values are laid on a
copy (by pickle, which copies a config seven times as fast as copy does). All of it is done by
Hydra's own functions, so that results and refusals are the same. Of `hydra` itself, which is one
for the whole sweep, nothing is composed.
"""

import copy
import pickle
from collections.abc import Sequence
from itertools import takewhile
from typing import cast

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import IConfigRepository
from hydra._internal.defaults_list import Overrides, _create_defaults_list
from hydra.core.config_loader import ConfigLoader
from hydra.core.default_element import ResultDefault
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

HYDRA = "hydra"
COMMON = ResultDefault(config_path="what all runs begin with")


class Composer(ConfigLoaderImpl):
    """Composes the runs of one sweep; a file that changes meanwhile is not read again.

    loader: Hydra's, with the search path. hydra: the overrides of Hydra's own settings.
    """

    def __init__(self, loader: ConfigLoader, config_name: str, hydra: Sequence[str]) -> None:
        super().__init__(loader.get_search_path())
        self.config_name = config_name
        self.ensure_main_config_source_available()
        self.files = self._parse_overrides_and_create_caching_repo(config_name, list(hydra))[1]
        self._placed: dict[tuple[str | None, str | None], bytes] = {}

    def runs(self, runs: Sequence[Sequence[str]]) -> list[DictConfig]:
        """The configuration of each list of overrides, without `hydra`. Raises Hydra's errors."""
        try:
            parsed = [self._parse(overrides) for overrides in runs]
            configs = self._merge([[o for o in run if self._chooses(o)] for run in parsed])
            for config, run in zip(configs, parsed, strict=True):
                OmegaConf.set_struct(config, True)
                values = [o for o in run if not self._chooses(o)]
                self._apply_overrides_to_config(values, config)
        except OmegaConfBaseException as error:
            raise ConfigCompositionException().with_traceback(error.__traceback__) from error
        return configs

    def _parse(self, overrides: Sequence[str]) -> list[Override]:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        self.validate_sweep_overrides_legal(parsed, RunMode.RUN, from_shell=False)
        return [override for override in parsed if not override.is_hydra_override()]

    def _chooses(self, override: Override) -> bool:
        group = self.files.group_exists(override.key_or_group)
        return group and not isinstance(override.value(), dict)

    def _merge(self, choices: Sequence[list[Override]]) -> list[DictConfig]:
        """What the files give for each run; runs with the same choices get copies of one."""
        keys = [tuple(str(choice.input_line) for choice in run) for run in choices]
        distinct = dict(zip(keys, choices, strict=True))
        listed = {key: self._listed(run) for key, run in distinct.items()}
        merged = self._merge_listed(list(listed.values()))
        if len(merged) == len(keys):
            return merged
        frozen = {key: pickle.dumps(config) for key, config in zip(listed, merged, strict=True)}
        return [pickle.loads(frozen[key]) for key in keys]

    def _merge_listed(self, lists: list[list[ResultDefault]]) -> list[DictConfig]:
        """The files of each list merged; those that all lists begin with are merged once."""
        same = takewhile(lambda at: all(one == at[0] for one in at), zip(*lists, strict=False))
        common = [at[0] for at in same]
        first = self._compose_config_from_defaults_list(common, self.files)
        result = ConfigResult("", "", first, {"package": ""})
        self._placed[COMMON.config_path, None] = pickle.dumps(result)
        rest = [[COMMON, *one[len(common) :]] for one in lists]
        return [self._compose_config_from_defaults_list(one, self.files) for one in rest]

    def _listed(self, choices: list[Override]) -> list[ResultDefault]:
        """The files of a run, in the order in which they are merged, without those of hydra."""
        overrides = Overrides(self.files, choices)
        listed, _ = _create_defaults_list(
            self.files, self.config_name, overrides, prepend_hydra=False, skip_missing=False
        )
        for key in [key for key in overrides.override_metadata if key.startswith(f"{HYDRA}/")]:
            del overrides.override_metadata[key]
        overrides.ensure_overrides_used()
        overrides.ensure_deletions_used()
        return [default for default in listed if self._place(default)]

    def _load_single_config(self, default: ResultDefault, repo: IConfigRepository) -> ConfigResult:
        return cast(ConfigResult, pickle.loads(self._place(default)))

    def _place(self, default: ResultDefault) -> bytes:
        """A file's contents where they belong, pickled; b"" where it sets nothing of ours."""
        place = (default.config_path, default.package)
        if place not in self._placed:
            placed = _without_hydra(super()._load_single_config(default, self.files))
            self._placed[place] = pickle.dumps(placed) if placed.config else b""
        return self._placed[place]


def _without_hydra(placed: ConfigResult) -> ConfigResult:
    if HYDRA not in placed.config:
        return placed
    config = cast(DictConfig, copy.copy(placed.config))
    config.pop(HYDRA)
    return ConfigResult(placed.provider, placed.path, config, placed.header)
