"""What a stage's folder says about itself: the recipe in stage.yaml, the run in record.json."""

import math
import os
import platform
import socket
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Protocol

import yaml

from tsr.store.files import write_atomic
from tsr.store.layout import STAGE

_PACKAGES: Final = ("tsr", "torch", "transformers", "trl", "peft", "vllm", "hydra-core")
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Named(Protocol):
    """What the store must know to find a piece of work; `tsr.stage.Sibling` is one."""

    @property
    def kind(self) -> str:
        """The shelf it belongs on."""

    @property
    def key(self) -> str:
        """64 hex digits: the hash of its recipe."""

    @property
    def label(self) -> str:
        """Its name, for people."""


class Item(Named, Protocol):
    """What the store must know to have it made; `tsr.stage.Stage` is one."""

    @property
    def inputs(self) -> "tuple[Item, ...]":
        """What it is made from."""

    def recipe(self) -> dict[str, Any]:
        """All that affects the result."""


def write_stage(folder: Path, item: Item) -> None:
    """Write stage.yaml."""
    recipe = item.recipe()
    about = {
        "label": item.label,
        "kind": item.kind,
        "version": recipe.get("version"),
        "key": item.key,
        "inputs": [{"key": one.key, "label": one.label} for one in item.inputs],
        "recipe": recipe,
    }
    text = yaml.safe_dump(about, sort_keys=False, allow_unicode=True, width=100)
    write_atomic(folder / STAGE, text)


def read_stage(folder: Path) -> dict[str, Any]:
    """Read stage.yaml. Raises ValueError when it is broken."""
    try:
        about = yaml.load((folder / STAGE).read_text(), Loader=_LOADER)
    except yaml.YAMLError as error:
        raise ValueError(f"{folder / STAGE} is broken: {error}") from error
    if not isinstance(about, dict):
        raise ValueError(f"{folder / STAGE} is broken: it holds no mapping")
    return about


def make_record(
    item: Item, figures: dict[str, Any], seconds: float, *, resumed: bool, revision: str | None
) -> dict[str, Any]:
    """What record.json holds. `seconds` of a resumed stage are those of its last leg."""
    now = datetime.now(UTC)
    started = datetime.fromtimestamp(now.timestamp() - seconds, UTC)
    return {
        "label": item.label,
        "kind": item.kind,
        "key": item.key,
        "figures": _plain(figures),
        "seconds": round(seconds, 3),
        "resumed": resumed,
        "started": started.isoformat(timespec="seconds"),
        "finished": now.isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        "revision": revision,
        "python": platform.python_version(),
        "packages": _packages(),
    }


def _plain(value: Any) -> Any:
    # JSON has no NaN, and a figure that could not be computed is missing: null.
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if hasattr(value, "item"):  # a number of numpy or torch
        return _plain(value.item())
    return value


@cache
def _packages() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
