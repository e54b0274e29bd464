"""Long work in blocks: each finished block is on disk, so a killed stage goes on from there."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tsr.jsonl import read_jsonl, write_jsonl
from tsr.stopping import stop_if_asked
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
    *,
    order: Callable[[Sequence[T]], Sequence[T]] = lambda items: items,
    tag: str = "",
) -> Rows:
    """`work` on `size` items at a time, leaving out blocks that an earlier, killed try finished.

    order: puts the items into the order of the blocks, the same on every try; not called where no
    block is missing, since it may need an engine. What else the blocks depend on goes into `tag`.
    Returns the rows of the bench's part of the blocks, in order.
    """
    folder = bench.folder / BLOCKS
    folder.mkdir(exist_ok=True)
    starts = [s for n, s in enumerate(range(0, len(items), size)) if bench.part.has(n)]
    # The block size is part of the name: after a change of it no old block fits.
    files = [folder / f"{tag}{size}-{start:08d}.jsonl" for start in starts]
    missing = [(s, f) for s, f in zip(starts, files, strict=True) if not f.exists()]
    total, left = _items(starts, size, items), _items([s for s, _ in missing], size, items)
    with bench.progress(what, total, total - left) as progress:
        ordered = order(items) if missing else items
        for start, file in missing:
            stop_if_asked()
            block = ordered[start : start + size]
            write_jsonl(file, work(block))
            progress.advance(len(block))
    return [row for file in files for row in read_jsonl(file)]


def _items(starts: Sequence[int], size: int, items: Sequence[T]) -> int:
    return sum(min(size, len(items) - start) for start in starts)
