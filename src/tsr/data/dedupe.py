"""The same prompt twice: in one pool, or in two that must be disjoint."""

from collections.abc import Sequence

from tsr.data.fields import BadData
from tsr.data.rows import Row, normalised
from tsr.settings import Refused


def dedupe(rows: Sequence[Row], against: Sequence[Row], how: str) -> tuple[list[Row], int]:
    """The rows whose prompt comes for the first time and is not in `against`; and how many went.

    Prompts are compared normalised. how: `remove`, or `refuse`, which raises BadData instead.
    """
    if how not in ("remove", "refuse"):
        raise Refused(f"duplicates={how}: must be one of remove, refuse")
    seen = {normalised(row.prompt) for row in against}
    kept: list[Row] = []
    gone: list[Row] = []
    for row in rows:
        prompt = normalised(row.prompt)
        (gone if prompt in seen else kept).append(row)
        seen.add(prompt)
    if gone and how == "refuse":
        raise BadData(_complaint(gone))
    return kept, len(gone)


def _complaint(gone: Sequence[Row]) -> str:
    named = "; ".join(f"{row.id} ({row.prompt[:60]!r})" for row in gone[:3])
    more = f" and {len(gone) - 3} more" if gone[3:] else ""
    return (
        f"{len(gone)} prompts were there already: {named}{more}; "
        "data.duplicates=remove leaves them out"
    )
