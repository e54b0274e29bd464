"""The manifest: what a finished stage consists of, and whether it still does."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tsr.store.files import plain_files, sha256, write_json
from tsr.store.layout import DONE, MANIFEST


def write_manifest(folder: Path, key: str) -> None:
    """List every file below `folder` with its hash and size."""
    files = {
        path.relative_to(folder).as_posix(): {"sha256": sha256(path), "bytes": path.stat().st_size}
        for path in plain_files(folder)
    }
    write_json(folder / MANIFEST, {"key": key, "files": files})


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest, as it was written. Raises ValueError when it is missing or broken."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except FileNotFoundError:
        raise ValueError("missing") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise ValueError("holds no list of files")
    return manifest


def bytes_in(manifest: dict[str, Any]) -> int:
    """The size of all the files in a manifest."""
    return sum(entry["bytes"] for entry in manifest["files"].values())


def faults(folder: Path, *, by_hash: bool) -> Iterator[tuple[str, str]]:
    """(file, what is wrong with it) for each file that is not what the manifest says."""
    if not (folder / DONE).exists():
        yield DONE, "missing"
    try:
        files = read_manifest(folder)["files"]
    except ValueError as error:
        yield MANIFEST, f"unreadable ({error})"
        return
    for name, entry in files.items():
        fault = _fault(folder / name, entry, by_hash)
        if fault:
            yield name, fault


def _fault(path: Path, entry: dict[str, Any], by_hash: bool) -> str:
    if not path.is_file():
        return "missing"
    size = path.stat().st_size
    if size != entry["bytes"]:
        return f"{size:,} bytes instead of {entry['bytes']:,}"
    if by_hash and sha256(path) != entry["sha256"]:
        return "its content has changed (SHA-256 differs)"
    return ""
