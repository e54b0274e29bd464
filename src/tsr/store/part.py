"""The unfinished folder of a stage: begun, or taken on from a worker that did not finish."""

from pathlib import Path

from tsr.store.claim import Claim, Claims
from tsr.store.files import renew_all, size_of, sweep_drafts
from tsr.store.layout import RESERVED, Layout, split_part


def begin(layout: Layout, claims: Claims, kind: str, claim: Claim) -> tuple[Path, bool]:
    """Our folder for the work, and whether it holds what an earlier worker left."""
    part = layout.part(kind, claim.key, claim.owner.id)
    leftovers = sorted(layout.parts(kind, claim.key), key=size_of, reverse=True)
    # Asked after looking: if we were overtaken, one of these may be the new worker's.
    claim.require()
    for leftover in leftovers:
        if _take_on(leftover, part):
            break
    else:
        part.mkdir(parents=True)
        return part, False
    _clean(part)
    if claims.may_write(claim.key, _claim_of(leftover)):
        # A stalled worker may wake, and write on into a file that it still has open.
        renew_all(part)
    return part, any(part.iterdir())


def _take_on(leftover: Path, part: Path) -> bool:
    # The new name takes the folder out of the old worker's hands: what it writes by path now fails.
    try:
        leftover.rename(part)
    except FileNotFoundError:
        return False
    return True


def _clean(part: Path) -> None:
    sweep_drafts(part)
    for name in RESERVED:
        (part / name).unlink(missing_ok=True)


def _claim_of(leftover: Path) -> str:
    names = split_part(leftover.name)
    return names[1] if names else ""
