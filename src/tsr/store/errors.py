"""What can go wrong in a store, each with its own name and a way on in its message."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final


class StoreError(RuntimeError):
    """Anything the store refuses or finds wrong."""


class Missing(StoreError):
    """A stage that is not published was asked for."""


class Damaged(StoreError):
    """A published stage is not what its manifest says."""


class NotPlain(StoreError):
    """An artifact holds other things than files and folders, or a name the store needs."""


class StoreReadOnly(StoreError):
    """The store cannot be written from here."""


class StoreFull(StoreError):
    """The disk, or the quota, of the store is used up."""


class StoreTooNew(StoreError):
    """The store was laid out by a later tsr."""


class LostClaim(StoreError):
    """This worker was silent for so long that another one took its work over."""


class Busy(StoreError):
    """The stage is being worked on, so it cannot be moved or deleted."""


class NoSuchKey(StoreError):
    """No stage, or more than one, has a key that begins like this."""


_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
_CLOSED: Final = {errno.EROFS, errno.EACCES, errno.EPERM}


class NoSuchSweep(StoreError):
    """No sweep, or more than one, has such a name."""


class NotVisible(StoreError):
    """The store that a job was submitted for cannot be seen from the node it runs on."""


@contextmanager
def writing(root: Path) -> Iterator[None]:
    """Name the store's own failures to write; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StoreFull(full_message(root, _reason(error))) from error
        if error.errno in _CLOSED:
            raise StoreReadOnly(
                f"the store {root} cannot be written from here ({_reason(error)}): "
                "give a store that you may write to, mount this one for writing, or, where it is "
                "shared, let its owner open it to the group (setgid folders, umask 002)"
            ) from error
        raise


@contextmanager
def filling(root: Path, part: Path) -> Iterator[None]:
    """Name a full disk met while a stage's work is written; its unfinished folder is kept."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL and _inside(root, error.filename):
            kept = f"; the work so far is kept in {part} and goes on from there"
            raise StoreFull(full_message(root, _reason(error)) + kept) from error
        raise


def full_message(root: Path, reason: str) -> str:
    """What to tell and to do where the store has no room."""
    return (
        f"no room left in the store {root} ({reason}): make room "
        f"(`python -m tsr.store gc --store {root}` shows what no run needs), then run again"
    )


def _reason(error: OSError) -> str:
    return f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror)


def _inside(root: Path, name: object) -> bool:
    # A failed write() names no file; it is taken for ours. A full /tmp or cache names its own.
    return name is None or Path(str(name)).absolute().is_relative_to(root.absolute())
