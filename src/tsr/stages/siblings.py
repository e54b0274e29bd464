"""Reading what siblings have: the same work with another K.

A sample's seed does not depend on K, so their rows are the same rows: a sweep over K pays for the
largest K only, whichever comes first.
"""

from typing import Any

from tsr.jsonl import read_jsonl
from tsr.stage import Stage
from tsr.workbench import Workbench

# The largest K that is looked for; a larger one is computed anew.
MOST_K = 64


def known_rows(
    bench: Workbench, stage: Stage, k: int, file: str
) -> tuple[int, list[dict[str, Any]]]:
    """How many samples of each prompt the best finished sibling has, at most k, and their rows.

    Where shares of the stage are there already, what they took as known is known, and no more: a
    sibling that came to be since then must not move the blocks.
    """
    if bench.first == 0:
        return 0, []
    for sibling in stage.siblings:  # the largest first
        known = min(k, sibling.amount) if bench.first is None else bench.first
        if sibling.amount >= known and bench.has(sibling):
            rows = read_jsonl(bench.artifact(sibling) / file)
            return known, [row for row in rows if row["sample"] < known]
    if bench.first:
        raise ShareError(
            f"{stage.label}: the first {bench.first} samples of each prompt, which its shares took "
            "from another K, are gone; remove its shares (`python -m tsr.store ls --kind share`)"
        )
    return 0, []


class ShareError(RuntimeError):
    """What the shares of a stage were built on is gone."""
