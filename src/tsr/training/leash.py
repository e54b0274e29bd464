"""`python -m tsr.training.leash PARENT COMMAND...`: a command that ends when its parent does.

It leads a group of its own, which ends with PARENT even by SIGKILL. What the command starts in
groups of their own has to see for itself; tsr.training.worker does.
"""

import signal
import subprocess
import sys
from types import FrameType

from tsr.engines.child import die_with


def main() -> None:
    """Run the command; end with its exit code."""
    die_with(int(sys.argv[1]))
    # A cluster's warning goes to every process of a job and would end these; the parent answers
    # it. Ignored signals stay so in the command.
    for warning in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(warning, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _wait)
    code = subprocess.call(sys.argv[2:])
    sys.exit(code if code >= 0 else 128 - code)


def _wait(signum: int, frame: FrameType | None) -> None:
    """The command has the same signal and ends in its own way."""


if __name__ == "__main__":
    main()
