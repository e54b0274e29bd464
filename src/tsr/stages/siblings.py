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
    """How many samples of each prompt the best finished sibling has, at most k, and their rows."""
    for sibling in stage.siblings:  # the largest first
        if bench.has(sibling):
            rows = read_jsonl(bench.artifact(sibling) / file)
            return min(k, sibling.amount), [row for row in rows if row["sample"] < k]
    return 0, []
