"""Rows from files and from the hub."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tsr.data.dedupe import dedupe
from tsr.data.fields import BadData, Fields
from tsr.data.files import file_sha256, objects
from tsr.data.oasst import oasst_rows
from tsr.data.rows import Row

__all__ = ["BadData", "dedupe", "file_sha256", "hub_rows", "oasst_rows", "read_rows"]


def read_rows(
    path: Path,
    *,
    prompt_field: str = "prompt",
    response_field: str = "response",
    id_field: str | None = None,
) -> list[Row]:
    """The rows of a .jsonl, .jsonl.gz, .json or .parquet file; see Fields for what a row holds.

    Raises BadData, naming the file and the line.
    """
    fields = Fields(prompt_field, response_field, id_field)
    return _rows(str(path), fields, objects(path))


def hub_rows(
    repo: str,
    revision: str,
    split: str,
    *,
    subset: str | None = None,
    prompt_field: str = "prompt",
    response_field: str = "response",
    id_field: str | None = None,
) -> list[Row]:
    """The rows of a split of a hub data set at a commit; BadData names the row."""
    if not revision:
        raise BadData(f"{repo}: needs the revision (a commit), so that the rows stay the same")
    from datasets import load_dataset

    found: Iterable[Any] = load_dataset(repo, name=subset, split=split, revision=revision)
    name = f"{repo}@{revision[:12]} {split}"
    placed = ((f"{name}: row {n}", obj) for n, obj in enumerate(found, 1))
    return _rows(name, Fields(prompt_field, response_field, id_field), placed)


def _rows(name: str, fields: Fields, placed: Iterable[tuple[str, Any]]) -> list[Row]:
    rows: list[Row] = []
    places: dict[str, str] = {}
    for where, obj in placed:
        row = fields.row(where, obj)
        first = places.setdefault(row.id, where)
        # A hash as id means the same prompt twice, which is for `dedupe` to settle.
        if first != where and fields.id is not None:
            raise BadData(f"{where}: id {row.id} is already that of {first}")
        rows.append(row)
    if not rows:
        raise BadData(f"{name}: holds no rows")
    return rows
