"""Hashes of files, taken once per process: a sweep asks for the same ones again and again."""

from functools import cache
from pathlib import Path

from tsr.store.files import sha256


def content_hash(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes; a file that has changed since is read anew."""
    stat = path.stat()
    return _hashed(path.resolve(), stat.st_size, stat.st_mtime_ns)


@cache
def _hashed(path: Path, _size: int, _changed: int) -> str:
    return sha256(path)
