"""Inside a job: SLURM's warnings make the work save itself; then the job is requeued or ends."""

import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

from tsr import stopping
from tsr.executors.slurm import queue
from tsr.executors.slurm.queue import SlurmError
from tsr.stopping import Stopped

log = logging.getLogger("tsr")

# The share of the notice in which work may reach its next safe point; the rest is for leaving.
PATIENCE: Final = 0.7
# A job in one of these goes on; one that cannot be asked about may be as well as not.
GOING: Final = ("RUNNING", queue.UNKNOWN)
TRIES, PAUSE_S = 5, 3.0
REQUEUED: Final = 75  # the exit code of a job that goes on later (EX_TEMPFAIL)


@contextmanager
def saving(notice_s: float) -> Iterator[None]:
    """While the block lasts, USR2 (time limit, preemption) and TERM make the work stop.

    Work stops at the end of its block or step, or where it is if that would take too long. Then
    the job is requeued, unless it was cancelled; either way this ends with SystemExit.
    """

    def warn(number: int, frame: FrameType | None) -> None:
        log.warning("%s: saving, to go on later", signal.Signals(number).name)
        stopping.ask()
        signal.setitimer(signal.ITIMER_REAL, notice_s * PATIENCE)

    def term(number: int, frame: FrameType | None) -> None:
        # Preemption without SLURM's user signal looks like this; so does scancel.
        if queue.state_of(own_job()) not in GOING:
            raise Stopped("the job was cancelled")
        warn(number, frame)

    def now(number: int, frame: FrameType | None) -> None:
        raise Stopped("no time left; the block or steps under way are done again")

    stopping.reset()
    handlers = {signal.SIGUSR2: warn, signal.SIGTERM: term, signal.SIGALRM: now}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    except Stopped as stop:
        _leave(stop)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def own_job() -> str:
    """The id of the job, or of the array's task, that this process is."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    # One of an array's tasks has the array's own id as its SLURM_JOB_ID: that names all of them.
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]


def requeue(why: str) -> None:
    """Put this job back into the queue, and end."""
    log.warning("requeued: %s", why)
    for _ in range(TRIES - 1):
        with suppress(SlurmError):  # the controller may be away for a moment
            queue.command("scontrol", "requeue", own_job())
            raise SystemExit(REQUEUED)
        time.sleep(PAUSE_S)
    queue.command("scontrol", "requeue", own_job())
    raise SystemExit(REQUEUED)


def _leave(stop: Stopped) -> None:
    # It leaves already: neither the end of the notice nor SLURM's TERM to a job that is being
    # requeued may keep it from that. The commands below inherit this.
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    if queue.state_of(own_job()) in GOING:
        requeue(str(stop))
    log.warning("ended: %s", stop)
    raise SystemExit(REQUEUED)
