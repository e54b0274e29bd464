"""Long work in blocks: each finished block is on disk, so a killed stage goes on from there."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tsr.jsonl import read_jsonl, write_jsonl
from tsr.workbench import Workbench

T = TypeVar("T")
BLOCKS = "blocks"
Rows = list[dict[str, Any]]


def in_blocks(
    bench: Workbench,
    what: str,
    items: Sequence[T],
    size: int,
    work: Callable[[Sequence[T]], Rows],
    tag: str = "",
) -> Rows:
    """`work` on `size` items at a time, leaving out blocks that an earlier, killed try finished.

    Items must come in the same order on every try; what else they depend on goes into `tag`.
    Returns the rows of all blocks, in order.
    """
    folder = bench.folder / BLOCKS
    folder.mkdir(exist_ok=True)
    starts = range(0, len(items), size)
    # The block size is part of the name: after a change of it no old block fits.
    files = [folder / f"{tag}{size}-{start:08d}.jsonl" for start in starts]
    done = sum(min(size, len(items) - s) for s, f in zip(starts, files, strict=True) if f.exists())
    with bench.progress(what, len(items), done) as progress:
        for start, file in zip(starts, files, strict=True):
            if not file.exists():
                block = items[start : start + size]
                write_jsonl(file, work(block))
                progress.advance(len(block))
    return [row for file in files for row in read_jsonl(file)]
