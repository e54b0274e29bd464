"""From overrides to configurations, and from what goes wrong there to one clear line."""

import argparse
import difflib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from tsr.composer import Composer
from tsr.config import RunConfig
from tsr.expand import expand
from tsr.places import conf_folder
from tsr.settings import Refused

CONFIG = "config"
ConfigErrors = (HydraException, OmegaConfBaseException, Refused)


def register() -> None:
    """Make the schema known to Hydra; every composition starts from it."""
    ConfigStore.instance().store(name="schema", node=RunConfig)
    # Hydra copies what it composes from before every look, the schema with it: over a hundred
    # times for --help. The store copies what it hands out, so itself it need not be copied.
    ConfigStore.__deepcopy__ = _itself  # type: ignore[attr-defined]


def _itself(store: ConfigStore, _: dict[int, Any]) -> ConfigStore:
    return store


def to_run_config(cfg: DictConfig) -> RunConfig:
    """The typed, checked configuration. Raises Refused, or OmegaConf's error for a wrong type."""
    if "hydra" in cfg:
        cfg = cfg.copy()
        with flag_override(cfg, ["struct", "readonly"], False):
            cfg.pop("hydra")
    config = OmegaConf.to_object(cfg)
    assert isinstance(config, RunConfig)
    config.check()
    return config


def compose_all(overrides: Sequence[str], multirun: bool) -> list[RunConfig]:
    """All runs of a command line, without running them; for the plan."""
    with _hydra():
        parsed = OverridesParser.create(_loader()).parse_overrides(list(overrides))
        hydra = [str(o.input_line) for o in parsed if o.is_hydra_override()]
        composer = Composer(_loader(), CONFIG, hydra)
        return [to_run_config(cfg) for cfg in composer.runs(_expand(parsed, multirun))]


def compose_jobs(
    loader: ConfigLoader, sweep: DictConfig, jobs: Sequence[Sequence[str]]
) -> list[RunConfig]:
    """All runs of a launcher's sweep, from the overrides of each; `sweep` is Hydra's config."""
    name, hydra = sweep.hydra.job.config_name, sweep.hydra.overrides.hydra
    return [to_run_config(cfg) for cfg in Composer(loader, name, hydra).runs(jobs)]


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """The arguments of a command that composes as tsr.run does."""
    parser.add_argument("-m", "--multirun", action="store_true", help="overrides hold lists")
    parser.add_argument("-cd", "--config-dir", type=Path, help="your own conf/, as for tsr.run")
    parser.add_argument("overrides", nargs="*", help="as for tsr.run, such as variant=past_only")


def overrides_of(args: argparse.Namespace) -> list[str]:
    """The overrides that `add_overrides` took, the own conf/ among them."""
    place = args.config_dir
    return [*args.overrides, *([f"hydra.searchpath=[file://{place.resolve()}]"] if place else [])]


@contextmanager
def _hydra() -> Iterator[None]:
    register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        yield


def _loader() -> ConfigLoader:
    return GlobalHydra.instance().config_loader()


def _expand(parsed: list[Override], multirun: bool) -> list[list[str]]:
    """One list of overrides per run: what tsr.run would make of that command line."""
    single = [str(o.input_line) for o in parsed if not o.is_sweep_override()]
    hydra = compose(CONFIG, single, return_hydra_config=True).hydra
    tasks = [o for o in parsed if not o.is_hydra_override()]
    if not (multirun or str(hydra.mode).endswith("MULTIRUN")):
        return [[str(o.input_line) for o in tasks]]
    ConfigLoaderImpl.validate_sweep_overrides_legal(parsed, RunMode.MULTIRUN, from_shell=True)
    params = [f"{k}={v}" for k, v in (hydra.sweeper.params or {}).items()]
    given = OverridesParser.create(_loader()).parse_overrides(params)
    return expand([*given, *tasks], hydra.sweeper.get("zipped") or ())


def one_line(error: Exception) -> str:
    """What a composition error says, in one line, with what is allowed where that is known."""
    if isinstance(error, Refused):
        return str(error)
    root = error
    while isinstance(root.__cause__, OmegaConfBaseException | HydraException):
        root = root.__cause__
    lines = [line.strip() for line in str(root).splitlines()]
    text = "; ".join(line for line in lines if line and not line.startswith("object_type="))
    text = text.replace(":; full_key:", "").replace("; full_key:", ", at")
    return text + _allowed(str(error), root)


UNDER_NULL = (
    "a setting is given inside a section that is null: give the section first, as in "
    "+engine@judge.engine=vllm or +model@judge.model=smollm2"
)


def under_null(error: Exception) -> bool:
    """Whether OmegaConf failed so on `judge.engine.name=vllm` while judge.engine is null."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and "omegaconf" in trace.tb_frame.f_code.co_filename


def _allowed(message: str, root: Exception) -> str:
    """The keys that a section takes, and the nearest, where a key was not among them."""
    key = getattr(root, "full_key", None) or getattr(root, "key", None)
    found = re.search(r"Key '([^']+)'", str(root))
    if key is None or found is None:
        return ""
    section = RunConfig()
    for part in str(key).split(".")[:-1]:
        section = getattr(section, part, None)  # type: ignore[assignment]
    if not is_dataclass(section):
        return ""
    names = [f.name for f in fields(section)]
    near = difflib.get_close_matches(found[1], names, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"; {hint}allowed: {', '.join(names)}"
