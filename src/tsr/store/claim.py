"""Claims: who works on what. Built on `rename` alone, so any shared filesystem will do.

A claim is a folder that is made ready aside and renamed into its place: a rename onto a folder that
holds something fails, so one worker gets it, and nobody sees a claim without its owner. A claim
that ends, or is taken over, is renamed to a name made of its own id. That can happen only once, so
of two who find the same dead claim the slower can never carry off the faster one's new claim.
"""

import errno
import logging
import os
import shutil
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tsr.store.errors import LostClaim
from tsr.store.layout import SHORT
from tsr.store.owner import Owner

log = logging.getLogger("tsr.store")
_TAKEN: Final = {errno.ENOTEMPTY, errno.EEXIST}


class Claims:
    """The claims of a store."""

    def __init__(self, folder: Path, stale_after_s: float) -> None:
        self.folder = folder
        self.stale_after_s = stale_after_s

    def path(self, key: str) -> Path:
        """Where the claim on a key lies while it is held."""
        return self.folder / key[:SHORT]

    def take(self, key: str, label: str) -> "Claim | None":
        """A claim on `key`, maybe a dead worker's; None while a live worker holds it."""
        holder = holder_of(self.path(key))
        if holder and not self._stale(key, holder):
            return None
        if holder:
            log.info("taking over %s from %s, which is gone or silent", label, holder)
            self.bury(key, holder)
        return self._try(key, label)

    def live(self, key: str) -> Owner | None:
        """The worker that is at it, if there is one and it lives."""
        holder = holder_of(self.path(key))
        return holder if holder and not self._stale(key, holder) else None

    def bury(self, key: str, owner: Owner) -> None:
        """Move the ended claim of `owner` aside; nothing happens to anybody else's claim."""
        _move(self.path(key), self.grave(key, owner.id))

    def grave(self, key: str, claim: str) -> Path:
        """Where a claim lies after it was taken over."""
        return self.folder / f".{key[:SHORT]}.gone-{claim}"

    def may_write(self, key: str, claim: str) -> bool:
        """Whether the worker that once had this claim may still be alive with files open."""
        owner = holder_of(self.grave(key, claim))
        return owner is not None and not owner.known_dead()

    def _stale(self, key: str, holder: Owner) -> bool:
        if holder.known_dead():
            return True
        beat = _fresh_mtime(self.path(key))
        return beat is not None and self._now() - beat > self.stale_after_s

    def _now(self) -> float:
        # The clock of the filesystem, as a file made there just now has it: the clocks of two nodes
        # may differ, and beats are compared with this one only. A read-only store can but guess.
        try:
            with tempfile.TemporaryFile(dir=self.folder) as probe:
                return os.fstat(probe.fileno()).st_mtime
        except OSError:
            return time.time()

    def _try(self, key: str, label: str) -> "Claim | None":
        owner = Owner.here(label)
        draft = self.folder / f".{key[:SHORT]}.new-{owner.id}"
        draft.mkdir()
        (draft / "owner.json").write_text(owner.text())
        (draft / "beat").touch()
        if _move(draft, self.path(key)):
            return Claim(self, key, owner)
        shutil.rmtree(draft)
        return None


class Claim:
    """A claim that we hold, kept alive by a thread for as long as the `with` lasts."""

    def __init__(self, claims: Claims, key: str, owner: Owner) -> None:
        self.key = key
        self.owner = owner
        self._claims = claims
        self._path = claims.path(key)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"claim-{key[:8]}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        lost = self.lost()
        self._release()
        if lost and isinstance(error, Exception) and not isinstance(error, LostClaim):
            # Its folder was moved away under it: what went wrong then is only a consequence.
            raise LostClaim(self._story()) from error

    def lost(self) -> bool:
        """Whether another worker has taken over."""
        holder = holder_of(self._path)
        return holder is None or holder.id != self.owner.id

    def require(self) -> None:
        """Raise LostClaim unless the claim is still ours."""
        if self.lost():
            raise LostClaim(self._story())

    def _beat(self) -> None:
        while not self._stop.wait(min(5.0, self._claims.stale_after_s / 6)):
            # A hiccup of a shared filesystem is no reason to stop; the next beat tries again.
            with suppress(OSError):
                if self.lost():
                    log.warning("%s", self._story())
                    return
                os.utime(self._path / "beat")

    def _release(self) -> None:
        grave = self._claims.grave(self.key, self.owner.id)
        if _move(self._path, grave):
            shutil.rmtree(grave)

    def _story(self) -> str:
        holder = holder_of(self._path)
        by = f"taken over by {holder}" if holder else "taken over, and has ended since"
        return (
            f"{self.owner.label}: this worker ({self.owner}) gave no sign of life for "
            f"{self._claims.stale_after_s:g} s and its work was {by}; run again to use that result"
        )


def holder_of(folder: Path) -> Owner | None:
    """Who holds the claim in `folder`, or held it; None when there is no such claim."""
    try:
        nobody = Owner(id=f"nobody-{folder.stat().st_ino}", host="an unknown host", pid=0)
    except FileNotFoundError:
        return None
    try:
        return Owner.parse((folder / "owner.json").read_text())
    except (FileNotFoundError, ValueError, TypeError):
        return nobody


def _fresh_mtime(folder: Path) -> float | None:
    # Opening makes NFS ask the server again: a cached mtime would make a live worker look dead.
    for path in (folder / "beat", folder):
        with suppress(FileNotFoundError):
            handle = os.open(path, os.O_RDONLY)
            try:
                return os.fstat(handle).st_mtime
            finally:
                os.close(handle)
    return None


def _move(source: Path, target: Path) -> bool:
    try:
        source.rename(target)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        raise
    return True
