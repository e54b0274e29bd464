"""The shares of a stage as they were noted at submission, known by their recipes alone."""

from collections.abc import Iterator

from tsr.stage import key_of
from tsr.store import Store
from tsr.store.jobs import Note
from tsr.store.sweeps import Wanted


def shares_noted(store: Store, note: Note | None) -> Iterator[tuple[Wanted, Note | None]]:
    """Each share of the stage that a note is about, and the share's own note; see stages.share."""
    of = note.shares if note else 0
    for index in range(of):
        assert note is not None
        recipe = {"kind": "share", "version": 1, "whole": {"stage": note.key}}
        key = key_of(recipe | {"index": index, "of": of})
        yield Wanted(key, "share", f"share {index + 1} of {of}", 1), store.notes.get(key)
