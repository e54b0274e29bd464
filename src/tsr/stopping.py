"""Being told to stop: work saves itself at its next safe point and raises Stopped.

A cluster warns a job before it takes the machine away. The signal handler only asks; blocks of
generation and steps of training look whether they were asked.
"""

import threading

_asked = threading.Event()


class Stopped(BaseException):
    """The work is saved and may go on elsewhere; no failure, so not an Exception."""


def ask() -> None:
    """Ask whatever works in this process to stop. Safe in a signal handler."""
    _asked.set()


def asked() -> bool:
    """Whether the work in this process was asked to stop."""
    return _asked.is_set()


def reset() -> None:
    """Forget that it was asked; before new work in the same process."""
    _asked.clear()


def stop_if_asked() -> None:
    """Raise Stopped if asked; called where everything done so far is on the disk."""
    if _asked.is_set():
        raise Stopped("told to stop; what is done so far is saved")
