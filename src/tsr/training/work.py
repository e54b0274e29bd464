"""A training as data: what one process writes down and others carry out."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from tsr.config import DPOConfig, SFTConfig, TrainConfig
from tsr.data.rows import Row
from tsr.engines.base import ModelFiles
from tsr.jsonl import read_jsonl, write_jsonl
from tsr.store.files import write_json
from tsr.workbench import Workbench

WORK, ROWS = "work.json", "rows.jsonl"
SETTINGS: dict[str, type[TrainConfig]] = {"sft": SFTConfig, "dpo": DPOConfig}
READ: dict[str, Callable[[dict[str, Any]], Any]] = {"sft": Row.from_json, "dpo": dict}


@dataclass(frozen=True)
class Work:
    """The arguments of tsr.training.sft.train or tsr.training.dpo.train.

    trainer: sft or dpo. models: the one to start from; for DPO, the reference too.
    rows: JSON objects; for SFT, of tsr.data.rows.Row.
    """

    trainer: str
    models: tuple[ModelFiles, ...]
    rows: Sequence[dict[str, Any]]
    settings: TrainConfig
    seed: int

    def save(self, folder: Path) -> None:
        """Write it into a folder."""
        write_jsonl(folder / ROWS, self.rows)
        models = [_plain(model) for model in self.models]
        rest = {"models": models, "settings": asdict(self.settings), "seed": self.seed}
        write_json(folder / WORK, {"trainer": self.trainer} | rest)

    @classmethod
    def load(cls, folder: Path) -> "Work":
        """What `save` wrote."""
        obj = json.loads((folder / WORK).read_text())
        models = tuple(_files(model) for model in obj["models"])
        settings = SETTINGS[obj["trainer"]](**obj["settings"])
        return cls(obj["trainer"], models, [*read_jsonl(folder / ROWS)], settings, obj["seed"])

    def carry_out(self, bench: Workbench) -> dict[str, Any]:
        """Train in this process, which may be one of several. Returns the figures."""
        trainer = import_module(f"tsr.training.{self.trainer}")  # torch only where it trains
        rows = [READ[self.trainer](row) for row in self.rows]
        return dict(trainer.train(bench, *self.models, rows, self.settings, self.seed))


def _plain(model: ModelFiles) -> dict[str, Any]:
    return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(model).items()}


def _files(obj: dict[str, Any]) -> ModelFiles:
    paths = {k: Path(obj[k]) for k in ("base", "adapter", "tokenizer") if obj[k] is not None}
    return ModelFiles(**(obj | paths))
