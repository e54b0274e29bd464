"""Tiny random models, each with its family's template and end of turn."""

from importlib import resources
from pathlib import Path

from tsr.models import tiny
from tsr.stages.model import TINY


def build_tiny(folder: Path, architecture: str) -> Path:
    """The same model for every test that asks for the architecture."""
    template, eos = TINY[architecture]
    text = resources.files("tsr").joinpath("templates", f"{template}.jinja").read_text()
    tiny.build(folder, architecture=architecture, seed=1, chat_template=text, eos_token=eos)
    return folder
