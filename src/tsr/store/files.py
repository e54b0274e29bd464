"""Files written so that a reader never meets half of one."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tsr.store.errors import NotPlain

_LEFTOVER: Final = re.compile(r"\..+\.tmp-\d+")


def write_atomic(path: Path, content: bytes | str) -> None:
    """Replace `path` by `content` at once: the old file or the new one, whenever we are killed."""
    data = content.encode() if isinstance(content, str) else content
    draft = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def write_json(path: Path, value: Any) -> None:
    """`write_atomic` of indented JSON."""
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def append_line(path: Path, value: Any) -> None:
    """Add one JSON line with one write, so that many processes may do so at the same time."""
    # The newline before it closes a line that a killed or full writer left open.
    line = f"\n{json.dumps(value)}\n".encode()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.write(handle, line)
    finally:
        os.close(handle)


def last_lines(path: Path, most_bytes: int = 1 << 18) -> Iterator[dict[str, Any]]:
    """The JSON objects at the end of a file of lines; what is broken is passed over."""
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - most_bytes))
        lines = file.read().decode(errors="replace").splitlines()
    for line in lines:
        value = _parsed(line)
        if isinstance(value, dict):
            yield value


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def plain_files(folder: Path) -> list[Path]:
    """Every file below `folder`, sorted. Raises NotPlain for a link, a socket or the like."""
    found = sorted(_leaves(folder))
    for path in found:
        if path.is_symlink() or not path.is_file():
            name = path.relative_to(folder)
            raise NotPlain(
                f"{folder} holds {name}, which is no plain file: put a copy in its place"
            )
    return found


def _leaves(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder, onerror=_raise):
        yield from (Path(place, name) for name in names)
        yield from (Path(place, name) for name in folders if Path(place, name).is_symlink())


def sweep_drafts(folder: Path) -> None:
    """Delete the drafts that killed writers left below `folder`."""
    for place, _, names in os.walk(folder):
        for name in names:
            if _LEFTOVER.fullmatch(name):
                Path(place, name).unlink(missing_ok=True)


def renew_all(folder: Path) -> None:
    """Replace each file by a copy: who still has an old one open no longer reaches what is here."""
    for path in list(_leaves(folder)):
        if path.is_file() and not path.is_symlink():
            draft = path.with_name(f".{path.name}.tmp-{os.getpid()}")
            shutil.copy2(path, draft)
            draft.replace(path)


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's entries, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Wait until everything below `folder` is on the disk, folders after what they hold."""
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync(Path(place, name))
        sync(Path(place))


def size_of(path: Path) -> int:
    """Bytes of a file or of all files below a folder; what vanishes meanwhile counts nothing."""
    total = 0
    names = [path] if path.is_file() else path.rglob("*")
    for name in names:
        try:
            total += name.lstat().st_size if not name.is_dir() else 0
        except FileNotFoundError:
            continue
    return total


def _raise(error: OSError) -> None:
    raise error
