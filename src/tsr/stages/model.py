"""Models: what they are to other stages, and the pretrained one that everything starts from."""

import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

from tsr.config import ModelConfig
from tsr.engines.base import ModelFiles
from tsr.hashing import content_hash
from tsr.models import smollm2, tiny
from tsr.settings import Refused, setting
from tsr.stage import Stage
from tsr.workbench import Workbench

TEMPLATES = ("llama2", "llama3", "chatml", "mistral")
# Template and end of turn of each tiny architecture: its family's.
TINY = {
    "llama": ("llama3", "<|eot_id|>"),
    "qwen": ("chatml", "<|im_end|>"),
    "mistral": ("mistral", "</s>"),
}


@dataclass(frozen=True, eq=False, repr=False)
class Model(Stage):
    """A stage whose artifact is a model."""

    def files(self, bench: Workbench) -> ModelFiles:
        """Where engines and trainers find it."""
        raise NotImplementedError

    @property
    def base(self) -> "Pretrained":
        """The pretrained model that it descends from."""
        raise NotImplementedError

    @property
    def checkpoint(self) -> "Model":
        """The model whose full weights are read: itself, or the one below its adapter."""
        return self

    @property
    def companions(self) -> tuple[Stage, ...]:
        """The checkpoint below an adapter."""
        return () if self.checkpoint is self else (self.checkpoint,)


@dataclass(frozen=True, eq=False, repr=False)
class Pretrained(Model):
    """Mb, known by its hub revision or the hash of its files, with its chat template.

    template: the Jinja text itself, or None for the tokenizer's own.
    content: for source=local the hash of the folder's files, for smollm2 the package's version,
        for tiny its builder's.
    """

    kind: ClassVar[str] = "pretrained"
    needs: ClassVar[str] = "light"

    source: str
    repo: str | None = None
    revision: str | None = None
    content: str | None = None
    architecture: str | None = None
    template: str | None = None
    turn_end: str | None = None
    trust_remote_code: bool = False
    path: str | None = setting(None, neutral=True)
    name: str = setting("", neutral=True)

    @classmethod
    def of(cls, config: ModelConfig) -> "Pretrained":
        """The model that the config names; a local folder is hashed now."""
        hub = config.source in ("hub", "api")
        template, turn_end = config.template, config.turn_end
        if config.source == "tiny" and template is None:
            template, turn_end = TINY[config.architecture]
        return cls(
            source=config.source,
            repo=config.repo if hub else None,
            revision=config.revision if hub else None,
            content=_content(config),
            architecture=config.architecture if config.source == "tiny" else None,
            template=_template(template),
            turn_end=turn_end,
            trust_remote_code=config.trust_remote_code,
            path=config.path,
            name=config.name,
        )

    @property
    def base(self) -> "Pretrained":
        """Itself."""
        return self

    @property
    def tag(self) -> str:
        """Which model: its size decides how long it takes."""
        return f"{self.source} {self.repo or self.architecture or self.content}"

    def produce(self, bench: Workbench) -> dict[str, Any]:
        """Make the checkpoint here, or note where it is and keep its tokenizer here."""
        from tsr.models import pretrained

        return pretrained.produce(self, bench.folder)

    def files(self, bench: Workbench) -> ModelFiles:
        """The checkpoint made here, or the hub's or the user's with the tokenizer kept here."""
        folder = bench.artifact(self)
        if self.source == "api":
            return ModelFiles(self.key, folder, served=self.repo, family=self.key)
        if self.source in ("smollm2", "tiny"):
            return ModelFiles(self.key, folder, family=self.key)
        place = json.loads((folder / "place.json").read_text())["path"]
        if not Path(place).is_dir():
            raise FileNotFoundError(
                f"{self.label}: {place} is gone; fetch it again with `python -m tsr.store redo "
                f"{self.key[:12]}` and the same run"
            )
        trusted = self.trust_remote_code
        return ModelFiles(self.key, Path(place), None, folder, trusted, family=self.key)


def _template(name: str | None) -> str | None:
    if name is None:
        return None
    if name in TEMPLATES:
        return resources.files("tsr").joinpath("templates", f"{name}.jinja").read_text("utf-8")
    try:
        return Path(name).read_text("utf-8")
    except OSError as error:
        raise Refused(
            f"model.template={name}: must be {', '.join(TEMPLATES)} or a readable file ({error})"
        ) from error


def _content(config: ModelConfig) -> str | None:
    if config.source == "smollm2":
        return f"{smollm2.PACKAGE}=={smollm2.VERSION}"
    if config.source == "tiny":
        return f"version {tiny.VERSION}"
    return _folder_hash(config.path) if config.source == "local" else None


def _folder_hash(path: str | None) -> str:
    folder = Path(str(path))
    if not (folder / "config.json").is_file():
        raise Refused(f"model.path={path}: not a checkpoint folder (no config.json in it)")
    files = sorted(f for f in folder.rglob("*") if f.is_file())
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(folder)} {content_hash(file)}\n".encode())
    return digest.hexdigest()
