"""Who holds a claim, and whether that process is known to be dead."""

import dataclasses
import json
import os
import socket
import uuid
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Owner:
    """The process behind a claim.

    start: when the process started (clock ticks since boot), which tells a reused pid apart.
    machine: boot and pid namespace. Two containers, or two machines, can share a host name.
    """

    id: str
    host: str
    pid: int
    start: int | None = None
    machine: str = ""
    job: str | None = None
    label: str = ""

    @classmethod
    def here(cls, label: str) -> "Owner":
        """This process, with a fresh claim id."""
        return cls(
            id=uuid.uuid4().hex[:12],
            host=socket.gethostname(),
            pid=os.getpid(),
            start=process_start(os.getpid()),
            machine=this_machine(),
            job=os.environ.get("SLURM_JOB_ID"),
            label=label,
        )

    @classmethod
    def parse(cls, text: str) -> "Owner":
        """Read back what `text()` wrote; fields of another version are ignored."""
        known = {f.name for f in dataclasses.fields(cls)}
        data: dict[str, Any] = json.loads(text)
        return cls(**{name: value for name, value in data.items() if name in known})

    def text(self) -> str:
        """The owner as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    def known_dead(self) -> bool:
        """True when the process ran on this machine and runs no more. False when we cannot tell."""
        if self.host != socket.gethostname() or self.machine not in ("", this_machine()):
            return False
        return self.start is not None and process_start(self.pid) != self.start

    def __str__(self) -> str:
        job = f", job {self.job}" if self.job else ""
        return f"{self.host} (pid {self.pid}{job})"


def process_start(pid: int) -> int | None:
    """Clock ticks from boot to the start of a living process; None if dead, or without /proc."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in brackets may hold spaces and brackets itself. A zombie no longer works.
    state, *fields = text.rpartition(")")[2].split()
    return None if state in "ZX" else int(fields[18])


@cache
def this_machine() -> str:
    """What two processes share when their pids mean the same thing; empty without /proc."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    space = Path("/proc/self/ns/pid")
    return f"{boot.read_text().strip()} {space.readlink()}" if boot.exists() else ""
