"""Bring a pretrained model into the store: convert, build, or note where it is."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tsr.stages.model import Pretrained


def produce(stage: "Pretrained", folder: Path) -> dict[str, Any]:
    """Fill the folder of a Pretrained stage; returns its figures."""
    if stage.source == "smollm2":
        from tsr.models import smollm2

        smollm2.convert(folder)
        return {"units": 1}
    if stage.source == "tiny":
        from tsr.models import tiny

        tiny.build(
            folder,
            architecture=str(stage.architecture),
            seed=0,
            chat_template=str(stage.template),
            eos_token=str(stage.turn_end),
        )
        return {"units": 1}
    if stage.source == "api":
        (folder / "place.json").write_text(json.dumps({"served": stage.repo}) + "\n")
        return {"units": 1, "served": stage.repo}
    place = _download(stage) if stage.source == "hub" else Path(str(stage.path)).resolve()
    _keep_tokenizer(stage, place, folder)
    (folder / "place.json").write_text(json.dumps({"path": str(place)}) + "\n")
    return {"units": 1, "path": str(place)}


def _download(stage: "Pretrained") -> Path:
    from huggingface_hub import snapshot_download

    wanted = ["*.safetensors", "*.json", "*.model", "*.txt", "*.jinja", "*.py"]
    return Path(snapshot_download(stage.repo, revision=stage.revision, allow_patterns=wanted))


def _keep_tokenizer(stage: "Pretrained", place: Path, folder: Path) -> None:
    """The tokenizer with the configured chat template and end of turn, beside the big weights."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=stage.trust_remote_code)
    if stage.template is not None:
        tokenizer.chat_template = stage.template
    if tokenizer.chat_template is None:
        raise ValueError(
            f"{stage.repo or place} has no chat template; set model.template to llama3, chatml, "
            "mistral or a Jinja file"
        )
    if stage.turn_end is not None:
        _end_turns_with(tokenizer, stage.turn_end)
    tokenizer.save_pretrained(folder)


def _end_turns_with(tokenizer: Any, token: str) -> None:
    if token not in tokenizer.get_vocab():
        raise ValueError(f"model.turn_end={token}: the tokenizer has no such token")
    tokenizer.eos_token = token
