"""The project's own instructions: written for it, checked by its tests, free of other data."""

from pathlib import Path
from typing import Final

from tsr.data.load import read_rows
from tsr.data.rows import Row

STARTER: Final = Path(__file__).with_name("starter.jsonl")


def starter_rows() -> list[Row]:
    """All rows; each has a reference answer, and its constraints hold in that answer."""
    return read_rows(STARTER, id_field="id")
