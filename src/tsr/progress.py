"""Progress for people: a bar with rates on a terminal, a plain line now and then elsewhere."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

EVERY_S = 30.0


def console() -> Console:
    """Standard output; wide enough for any table where no terminal says how wide it is."""
    out = Console()
    return out if out.is_terminal else Console(width=140)


@dataclass
class Bar:
    """One bar on a terminal."""

    bars: Progress
    task: TaskID

    def advance(self, amount: int = 1) -> None:
        """See tsr.workbench.Progress."""
        self.bars.advance(self.task, amount)
        task = self.bars.tasks[0]
        if task.elapsed:
            self.bars.update(self.task, rate=f"{task.completed / task.elapsed:.2f}/s")


@dataclass
class Lines:
    """Plain lines, at most one in EVERY_S seconds."""

    console: Console
    what: str
    total: int
    done: int
    began: float = field(default_factory=time.monotonic)
    told: float = field(default_factory=time.monotonic)

    def advance(self, amount: int = 1) -> None:
        """See tsr.workbench.Progress."""
        self.done += amount
        now = time.monotonic()
        if now - self.told >= EVERY_S:
            self.told = now
            self.console.print(
                f"{self.what} {self.done}/{self.total} after {now - self.began:.0f} s"
            )


PROGRESS = "progress.json"


@dataclass
class Noted:
    """A counter that also tells a file, at most once a second, for `python -m tsr.status`."""

    shown: "Bar | Lines"
    path: Path
    what: str
    total: int
    done: int
    begun: int
    began: float = field(default_factory=time.time)
    told: float = 0.0

    def advance(self, amount: int = 1) -> None:
        """See tsr.workbench.Progress."""
        self.shown.advance(amount)
        self.done += amount
        self.tell()

    def tell(self) -> None:
        """Write how far it is; `begun` of it was there when this try began."""
        now = time.time()
        if now - self.told >= 1.0:
            self.told = now
            state = {"what": self.what, "done": self.done, "total": self.total}
            state |= {"begun": self.begun, "seconds": round(now - self.began, 1)}
            draft = self.path.with_name(f".{self.path.name}.tmp-{os.getpid()}")
            draft.write_text(json.dumps(state))
            draft.replace(self.path)


@dataclass
class Reporter:
    """Where progress is shown."""

    console: Console

    @contextmanager
    def progress(self, what: str, total: int, done: int = 0) -> Iterator[Bar | Lines]:
        """Show how far `what` is while the block runs."""
        if not self.console.is_terminal:
            yield Lines(self.console, what, total, done)
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as bars:
            yield Bar(bars, bars.add_task(what, total=total, completed=done, rate=""))
