"""Objects from a JSONL, JSON or Parquet file, each with the place that an error message names."""

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from tsr.data.fields import BadData
from tsr.hashing import content_hash

SUFFIXES: Final = (".jsonl", ".jsonl.gz", ".json", ".parquet")
Placed = tuple[str, Any]


def objects(path: Path) -> Iterator[Placed]:
    """(place, object) for each line or element. Raises BadData."""
    suffix = next((s for s in SUFFIXES if path.name.endswith(s)), None)
    if suffix is None:
        raise BadData(f"{path}: must end in one of {', '.join(SUFFIXES)}")
    require_file(path)
    if suffix == ".parquet":
        yield from _parquet(path)
    elif suffix == ".json":
        yield from _array(path)
    else:
        yield from _lines(path)


def require_file(path: Path) -> None:
    """Raise BadData if there is no such file."""
    if not path.is_file():
        raise BadData(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}")


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes: what a file of data is known by."""
    require_file(path)
    return content_hash(path)


def _lines(path: Path) -> Iterator[Placed]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for number, line in enumerate(_unpacked(path, file), 1):
            where = f"{path}:{number}"
            text = _decoded(where, line)
            if text.strip():
                yield where, _parsed(where, text)


def _unpacked(path: Path, file: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadData(f"{path}: not a whole gzip file ({error})") from error


def _decoded(where: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadData(f"{where}: not UTF-8 (byte {error.start + 1}: {error.reason})") from error


def _parsed(where: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if "\n" in text.strip() else ""
        raise BadData(f"{where}: broken JSON ({line}column {error.colno}: {error.msg})") from error
    except RecursionError as error:
        raise BadData(f"{where}: JSON nested too deeply") from error


def _array(path: Path) -> Iterator[Placed]:
    found = _parsed(str(path), _decoded(str(path), path.read_bytes()).strip() or "[]")
    if not isinstance(found, list):
        raise BadData(f"{path}: must hold a list of objects; for one object a line use .jsonl")
    yield from ((f"{path}: row {n}", obj) for n, obj in enumerate(found, 1))


def _parquet(path: Path) -> Iterator[Placed]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        rows = parquet.read_table(path).to_pylist()
    except pa.ArrowInvalid as error:
        raise BadData(f"{path}: not a Parquet file ({error})") from error
    yield from ((f"{path}: row {n}", obj) for n, obj in enumerate(rows, 1))
