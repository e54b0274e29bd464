"""Publishing: a finished folder becomes the stage, with one rename."""

import errno
import shutil
from pathlib import Path
from typing import Any, Final

from tsr.store.claim import Claim
from tsr.store.describe import Item, write_stage
from tsr.store.errors import LostClaim, NotPlain
from tsr.store.files import plain_files, sweep_drafts, sync, sync_tree, write_atomic, write_json
from tsr.store.layout import DONE, MANIFEST, RECORD, STAGE, Layout
from tsr.store.manifest import write_manifest

_TAKEN: Final = {errno.ENOTEMPTY, errno.EEXIST}


def publish(layout: Layout, item: Item, part: Path, claim: Claim, record: dict[str, Any]) -> bool:
    """Seal the part and move it to its place. False if another is there already: it stays."""
    _require_ours(part, claim)
    _seal(part, item, record)
    placed = _place(layout, part, layout.target(item.kind, item.key))
    leftovers = layout.parts(item.kind, item.key)
    if not claim.lost():  # or one of them may belong to who took over
        for leftover in leftovers:
            shutil.rmtree(leftover, ignore_errors=True)
    return placed


def _require_ours(part: Path, claim: Claim) -> None:
    claim.require()
    # A worker that lost its folder may have made it anew while writing: it holds no stage.yaml.
    if not (part / STAGE).exists():
        raise LostClaim(f"{claim.owner.label}: its folder {part} was moved away; run again")
    taken = [name for name in (RECORD, MANIFEST, DONE) if (part / name).exists()]
    if taken:
        raise NotPlain(
            f"{claim.owner.label} wrote {', '.join(taken)}: that name is the store's own"
        )


def _seal(part: Path, item: Item, record: dict[str, Any]) -> None:
    sweep_drafts(part)
    write_stage(part, item)
    write_json(part / RECORD, record)
    _open_up(part)
    write_manifest(part, item.key)
    sync_tree(part)
    write_atomic(part / DONE, f"{item.key}\n")
    sync(part)


def _open_up(part: Path) -> None:
    """Let those read every file who may read ours: some libraries write for their user alone."""
    readable = (part / STAGE).stat().st_mode & 0o444
    for path in plain_files(part):
        mode = path.stat().st_mode
        if mode & readable != readable:
            path.chmod(mode | readable)


def _place(layout: Layout, part: Path, target: Path) -> bool:
    try:
        part.rename(target)
    except OSError as error:
        if error.errno not in _TAKEN:
            raise
        if (target / DONE).exists():
            return False
        # Not ours to trust and in the way: a copy of a stage that somebody left half done.
        layout.discard(target)
        part.rename(target)
    sync(target.parent)
    return True
