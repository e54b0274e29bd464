"""JSON lines, written whole or not at all."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tsr.store.files import write_atomic


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """One object a line, UTF-8; the file appears only when it is complete."""
    write_atomic(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file that `write_jsonl` wrote."""
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)
