"""The starter set: instructions written for this project, with reference answers."""

import json
from importlib import resources

from tsr.data.rows import Row


def starter_rows() -> list[Row]:
    """All rows, in the file's order."""
    text = resources.files("tsr.data").joinpath("starter.jsonl").read_text("utf-8")
    return [Row.from_json(json.loads(line)) for line in text.splitlines()]
